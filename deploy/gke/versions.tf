terraform {
  required_version = ">= 1.6"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # State tells everything about the installation (no password: none is made here). Keep it in a bucket that the team
  # shares: terraform init -backend-config="bucket=NAME"
  backend "gcs" {
    prefix = "flightdeck"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    app = var.name
  }
}
