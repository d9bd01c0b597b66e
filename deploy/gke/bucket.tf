# The workspace: gs://PROJECT-NAME/{spans,artifacts,models,payloads,reports}, or those in a folder of it.

locals {
  inside = var.workspace_folder == "" ? "" : "${var.workspace_folder}/"
}

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
      matches_prefix = ["${local.inside}artifacts/"]
    }
  }

  depends_on = [google_project_service.api]
}

# Folders that somebody may read, or write, who may not do so in the whole bucket. Unlike a condition on names, a role of
# a folder lets its members list it, by which servers find versions.
resource "google_storage_managed_folder" "workspace" {
  for_each = toset(["models", "payloads", "reports"])

  bucket = google_storage_bucket.workspace.name
  name   = "${local.inside}${each.key}/"
  # Whether the files in it may go, the bucket decides.
  force_destroy = true
}
