# Google identities, each with what its part needs. None has a key; pods borrow theirs through Workload Identity.

locals {
  # Google identity => Kubernetes namespace and service account that may act as it (deploy/kubernetes).
  workloads = {
    runner   = "kubeflow/flightdeck-runner"
    watch    = "kubeflow/flightdeck-watch"
    exporter = "kubeflow/flightdeck-exporter"
    report   = "kubeflow/flightdeck-report"
    server   = "flightdeck/flightdeck-server"
    site     = "flightdeck/flightdeck-site"
    database = "flightdeck/flightdeck-database"
  }

  # Who reads the whole bucket, and who writes there: pipelines and the loop read spans and write artifacts and models.
  bucket = {
    runner   = "roles/storage.objectUser"
    watch    = "roles/storage.objectUser"
    exporter = "roles/storage.objectViewer"
    report   = "roles/storage.objectViewer"
  }

  # Who has a folder of the bucket beside that, or only that: the service reads versions and writes its log.
  folders = {
    server_models   = { workload = "server", folder = "models", role = "roles/storage.objectViewer" }
    server_payloads = { workload = "server", folder = "payloads", role = "roles/storage.objectUser" }
    report_reports  = { workload = "report", folder = "reports", role = "roles/storage.objectUser" }
    site_reports    = { workload = "site", folder = "reports", role = "roles/storage.objectViewer" }
  }

  runner = google_service_account.workload["runner"].member
}

resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  display_name = "${var.name}: the machines of the cluster"

  depends_on = [google_project_service.api]
}

# Logs and metrics, and nothing else.
resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}

resource "google_service_account" "workload" {
  for_each = local.workloads

  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name}: ${each.key}"

  depends_on = [google_project_service.api]
}

resource "google_service_account_iam_member" "workload" {
  for_each = local.workloads

  service_account_id = google_service_account.workload[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${google_container_cluster.main.workload_identity_config[0].workload_pool}[${each.value}]"
}

resource "google_storage_bucket_iam_member" "workload" {
  for_each = local.bucket

  bucket = google_storage_bucket.workspace.name
  role   = each.value
  member = google_service_account.workload[each.key].member
}

resource "google_storage_managed_folder_iam_member" "workload" {
  for_each = local.folders

  bucket         = google_storage_bucket.workspace.name
  managed_folder = google_storage_managed_folder.workspace[each.value.folder].name
  role           = each.value.role
  member         = google_service_account.workload[each.value.workload].member
}

# The Auth Proxy connects to the database; who it is there is decided by user and password.
resource "google_project_iam_member" "database" {
  project = var.project
  role    = "roles/cloudsql.client"
  member  = google_service_account.workload["database"].member
}

resource "google_project_iam_member" "dataflow" {
  for_each = toset(var.dataflow ? ["roles/dataflow.developer", "roles/dataflow.worker"] : [])

  project = var.project
  role    = each.key
  member  = local.runner
}

# Dataflow's workers run as the identity that submits the job.
resource "google_service_account_iam_member" "dataflow" {
  count = var.dataflow ? 1 : 0

  service_account_id = google_service_account.workload["runner"].name
  role               = "roles/iam.serviceAccountUser"
  member             = local.runner
}

# Flink's TaskManagers do the work of tasks, in a namespace where only our own workloads run.
resource "google_service_account_iam_member" "flink" {
  count = var.flink ? 1 : 0

  service_account_id = google_service_account.workload["runner"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${google_container_cluster.main.workload_identity_config[0].workload_pool}[flightdeck/flightdeck-flink]"
}
