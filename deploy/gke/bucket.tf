# Spans, artifacts and pushed models: gs://PROJECT-NAME/{spans,artifacts,models}
resource "google_storage_bucket" "workspace" {
  name     = "${var.project}-${var.name}"
  location = var.region

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  soft_delete_policy {
    # A week to notice that something was deleted by mistake.
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = var.artifact_days
      matches_prefix = ["artifacts/"]
    }
  }

  depends_on = [google_project_service.api]
}
