variable "name" {
  description = "What everything is called."
  type        = string
  default     = "ml-training-api"
}

variable "region" {
  description = "Region of the logs, which is that of the provider."
  type        = string
}

variable "image" {
  description = "REGISTRY/ml-training-api; -training, -ai-gateway, -health, -edge and the tag follow."
  type        = string
}

variable "image_tag" {
  description = "Tag of all four images."
  type        = string

  validation {
    condition     = var.image_tag != "latest"
    error_message = "Name a version: what runs has to be what was tried."
  }
}

variable "vpc_id" {
  type = string
}

variable "public_subnet_ids" {
  description = "Of the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Of the tasks; with a way out to AI vendors, the registry and Secrets Manager."
  type        = list(string)
}

variable "certificate_arn" {
  description = "Certificate of the HTTPS listener. There is no other."
  type        = string
}

variable "allowed_cidrs" {
  description = "Who may call."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "api_keys_secret_arn" {
  description = "Secret with what `mlapi keys` writes; hashes only."
  type        = string
}

variable "vendor_key_secret_arns" {
  description = "Vendor (openai, anthropic, perplexity, gemini, xai) to the secret of its key."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for vendor in keys(var.vendor_key_secret_arns) : contains(["openai", "anthropic", "perplexity", "gemini", "xai"], vendor)])
    error_message = "Vendors are openai, anthropic, perplexity, gemini and xai."
  }
}

variable "training_delegate_key_secret_arn" {
  description = "Secret with a key of the scope training:delegate, which enhancements train with."
  type        = string
  default     = ""
}

variable "database_url_secret_arn" {
  description = "Secret with postgresql://… of RDS. Empty: SQLite on EFS, and so one task."
  type        = string
  default     = ""

  validation {
    condition     = (var.database_url_secret_arn == "") == (var.artifacts_bucket == "")
    error_message = "Set both database_url_secret_arn and artifacts_bucket, or neither: a task's disk is gone with it."
  }
}

variable "artifacts_bucket" {
  description = "S3 bucket of datasets, models and checkpoints. Empty: EFS."
  type        = string
  default     = ""
}

variable "redis_url_secret_arn" {
  description = "Secret with redis://… of ElastiCache: callers' limits, and the cache of AI calls, that tasks share."
  type        = string
  default     = ""
}

variable "otlp_endpoint" {
  description = "Of an OpenTelemetry collector; empty for none."
  type        = string
  default     = ""
}

variable "cpu" {
  description = "Of a task, in 1/1024 of a processor."
  type        = number
  default     = 4096
}

variable "memory" {
  description = "Of a task, in MiB."
  type        = number
  default     = 16384
}

variable "training_slots" {
  description = "Training attempts at once in a task."
  type        = number
  default     = 2
}

variable "min_tasks" {
  description = "Least tasks, with state outside of them."
  type        = number
  default     = 2
}

variable "max_tasks" {
  description = "Most tasks, with state outside of them."
  type        = number
  default     = 10
}

variable "log_retention_days" {
  type    = number
  default = 30
}
