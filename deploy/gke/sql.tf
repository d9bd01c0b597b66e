# ML Metadata. Its user is not made here, because Terraform would write the password into its state: docs/deploy-gke.md.

resource "google_sql_database_instance" "metadata" {
  name             = "${var.name}-metadata"
  region           = var.region
  database_version = "MYSQL_8_0"

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = var.database_availability
    disk_size         = 10
    disk_autoresize   = true

    # The MySQL client inside ML Metadata knows no newer way to log in. The connection is encrypted by the Auth Proxy.
    database_flags {
      name  = "default_authentication_plugin"
      value = "mysql_native_password"
    }

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled            = true
      binary_log_enabled = true
      start_time         = "02:00"
    }
  }

  deletion_protection = var.deletion_protection

  depends_on = [google_service_networking_connection.google_services]
}

resource "google_sql_database" "metadata" {
  name      = "metadata"
  instance  = google_sql_database_instance.metadata.name
  charset   = "utf8mb4"
  collation = "utf8mb4_general_ci"
}
