locals {
  registry  = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
  workspace = join("/", compact([google_storage_bucket.workspace.url, var.workspace_folder]))
}

output "credentials_command" {
  description = "Makes kubectl talk to the cluster."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.main.name} --location ${google_container_cluster.main.location} --project ${var.project}"
}

output "registry" {
  description = "Where images are pushed: flightdeck image push adds a name and the commit."
  value       = local.registry
}

output "workspace" {
  description = "The pipeline's workspace: spans, artifacts and models lie below it."
  value       = local.workspace
}

output "database_instance" {
  description = "Name of the Cloud SQL instance, for gcloud sql users create."
  value       = google_sql_database_instance.metadata.name
}

output "gpu" {
  description = "What the Trainer's pod must select and tolerate to be placed in the training pool."
  value = {
    resource = "nvidia.com/gpu"
    count    = var.gpu_count
    node_selector = merge(
      google_container_node_pool.gpu.node_config[0].labels,
      { "cloud.google.com/gke-accelerator" = var.gpu_type },
    )
    tolerations = [
      for taint in google_container_node_pool.gpu.node_config[0].taint : {
        key      = taint.key
        operator = "Equal"
        value    = taint.value
        effect   = "NoSchedule"
      }
    ]
  }
}

output "kubernetes_settings" {
  description = "The file deploy/kubernetes/settings/gke/settings.yaml for this installation."
  value = yamlencode({
    apiVersion = "v1"
    kind       = "ConfigMap"
    metadata = {
      name        = "flightdeck-settings"
      namespace   = "flightdeck"
      annotations = { "config.kubernetes.io/local-config" = "true" }
    }
    data = {
      # What was built and pushed, Terraform does not know: put the commit in.
      image            = "${local.registry}/flightdeck:COMMIT-gpu"
      serverImage      = "${local.registry}/flightdeck:COMMIT-serve"
      flinkImage       = "${local.registry}/flink:1.20-beam-2.77.0"
      workspace        = local.workspace
      modelFolder      = "${local.workspace}/models/${var.model_name}"
      payloadFolder    = "${local.workspace}/payloads"
      reportFolder     = "${local.workspace}/reports/latest"
      modelName        = var.model_name
      modelVersion     = "1"
      databaseInstance = google_sql_database_instance.metadata.connection_name
      databaseIdentity = google_service_account.workload["database"].email
      runnerIdentity   = google_service_account.workload["runner"].email
      serverIdentity   = google_service_account.workload["server"].email
      watchIdentity    = google_service_account.workload["watch"].email
      exporterIdentity = google_service_account.workload["exporter"].email
      reportIdentity   = google_service_account.workload["report"].email
      siteIdentity     = google_service_account.workload["site"].email
    }
  })
}
