"""What operators look at: the exporter of the ledger, dashboards, alert rules, and a Prometheus to try them with."""
