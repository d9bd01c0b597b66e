output "credentials_command" {
  description = "Makes kubectl talk to the cluster."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.main.name} --location ${google_container_cluster.main.location} --project ${var.project}"
}

output "registry" {
  description = "Where images are pushed: flightdeck image push adds a name and the commit."
  value       = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "workspace" {
  description = "The pipeline's workspace: spans, artifacts and models lie below it."
  value       = google_storage_bucket.workspace.url
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
      modelName        = var.model_name
      modelFolder      = "${google_storage_bucket.workspace.url}/models/${var.model_name}"
      modelVersion     = "1"
      databaseInstance = google_sql_database_instance.metadata.connection_name
      runnerIdentity   = google_service_account.workload["runner"].email
      serverIdentity   = google_service_account.workload["server"].email
      databaseIdentity = google_service_account.workload["database"].email
    }
  })
}
