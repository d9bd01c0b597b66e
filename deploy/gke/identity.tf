# Four Google identities, each with what its part needs. None has a key; pods borrow theirs through Workload Identity.

locals {
  # Google identity => Kubernetes namespace and service account that may act as it (deploy/kubernetes).
  workloads = {
    runner   = "kubeflow/flightdeck-runner"
    server   = "flightdeck/flightdeck-server"
    database = "flightdeck/flightdeck-database"
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

# Pipelines read spans and write artifacts and models.
resource "google_storage_bucket_iam_member" "runner" {
  bucket = google_storage_bucket.workspace.name
  role   = "roles/storage.objectUser"
  member = local.runner
}

# Model servers read.
resource "google_storage_bucket_iam_member" "server" {
  bucket = google_storage_bucket.workspace.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.workload["server"].member
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
