variable "project" {
  description = "Id of an existing Google Cloud project with billing enabled."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project id, such as my-project-123 (not its number and not its display name)."
  }
}

variable "name" {
  description = "Name of the cluster, and prefix of everything else that is made."
  type        = string
  default     = "flightdeck"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,17}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 19 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "Region of the network, the bucket, the registry and the database."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region, such as europe-west1 (not a zone such as europe-west1-b)."
  }
}

variable "zone" {
  description = "Letter of the zone, within the region, of the cluster's control plane and nodes. It must offer the GPU of gpu_type."
  type        = string
  default     = "b"

  validation {
    condition     = can(regex("^[a-f]$", var.zone))
    error_message = "zone must be one letter, such as b."
  }
}

variable "authorized_networks" {
  description = "Who may talk to the cluster's control plane: address ranges in CIDR notation, by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.authorized_networks) > 0 && alltrue([for range in var.authorized_networks : can(cidrhost(range, 0))])
    error_message = "authorized_networks must have at least one range such as { office = \"203.0.113.7/32\" }."
  }

  validation {
    condition     = !contains(values(var.authorized_networks), "0.0.0.0/0")
    error_message = "authorized_networks must not open the control plane to everybody (0.0.0.0/0)."
  }
}

variable "release_channel" {
  description = "How fast Google upgrades Kubernetes: RAPID, REGULAR or STABLE."
  type        = string
  default     = "REGULAR"

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE"], var.release_channel)
    error_message = "release_channel must be RAPID, REGULAR or STABLE."
  }
}

variable "cpu_machine_type" {
  description = "Machine type of the nodes that run everything but training on a GPU."
  type        = string
  default     = "e2-standard-4"
}

variable "cpu_nodes" {
  description = "Fewest and most nodes of the CPU pool. Kubeflow Pipelines itself needs one or two."
  type = object({
    min = number
    max = number
  })
  default = {
    min = 1
    max = 4
  }

  validation {
    condition     = var.cpu_nodes.min >= 1 && var.cpu_nodes.max >= var.cpu_nodes.min
    error_message = "cpu_nodes.min must be at least 1, and cpu_nodes.max not below it."
  }
}

variable "cpu_spot" {
  description = "Run the CPU pool on spot machines: much cheaper, taken away at any time. Kubeflow's own database then restarts too."
  type        = bool
  default     = false
}

variable "gpu_type" {
  description = "GPU of the training pool, as Kubernetes calls it: the value of the node label cloud.google.com/gke-accelerator."
  type        = string
  default     = "nvidia-l4"
}

variable "gpu_count" {
  description = "GPUs of each node of the training pool."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4, 8], var.gpu_count)
    error_message = "gpu_count must be 1, 2, 4 or 8."
  }
}

variable "gpu_machine_type" {
  description = "Machine type of the training pool; it must go with gpu_type (g2-standard-8 has one nvidia-l4)."
  type        = string
  default     = "g2-standard-8"
}

variable "gpu_max_nodes" {
  description = "Most nodes of the training pool. There is none while nothing trains."
  type        = number
  default     = 1

  validation {
    condition     = var.gpu_max_nodes >= 1
    error_message = "gpu_max_nodes must be at least 1."
  }
}

variable "gpu_spot" {
  description = "Run the training pool on spot machines. A node that is taken away is trained again: the pipeline retries it."
  type        = bool
  default     = true
}

variable "database_tier" {
  description = "Machine of the metadata database. Metadata is small; this is the smallest with a dedicated core."
  type        = string
  default     = "db-custom-1-3840"
}

variable "database_availability" {
  description = "ZONAL, or REGIONAL for a standby in another zone at twice the price."
  type        = string
  default     = "ZONAL"

  validation {
    condition     = contains(["ZONAL", "REGIONAL"], var.database_availability)
    error_message = "database_availability must be ZONAL or REGIONAL."
  }
}

variable "artifact_days" {
  description = "After how many days the intermediate artifacts of runs are deleted. Pushed models and spans are kept."
  type        = number
  default     = 90

  validation {
    condition     = var.artifact_days >= 1
    error_message = "artifact_days must be at least 1."
  }
}

variable "model_name" {
  description = "Name of the pushed model: use_case.name in the pipeline's settings."
  type        = string
  default     = "late-flights"
}

variable "workspace_folder" {
  description = "Folder of the bucket that is the workspace, such as the name of a project of `flightdeck new`. Default: the whole bucket."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*)?$", var.workspace_folder))
    error_message = "workspace_folder must be a folder such as taxi, with no slash at its beginning or end."
  }
}

variable "dataflow" {
  description = "Let pipelines run Beam on Dataflow."
  type        = bool
  default     = false
}

variable "flink" {
  description = "Let the TaskManagers of deploy/kubernetes/components/flink act at Google as the tasks of pipelines do."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Refuse to destroy the cluster, the database and a bucket that is not empty. Set it to false, apply, then destroy."
  type        = bool
  default     = true
}
