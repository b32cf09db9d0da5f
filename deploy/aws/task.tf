# One task has all four processes, which speak over its own loopback: nothing but the edge can be reached.
locals {
  embedded = var.database_url_secret_arn == ""
  user     = "65532:65532"
  data     = "/data"
  keys     = "/keys/keys.json"

  database   = local.embedded ? {} : { DATABASE_URL = var.database_url_secret_arn }
  redis      = var.redis_url_secret_arn == "" ? {} : { REDIS_URL = var.redis_url_secret_arn }
  delegate   = var.training_delegate_key_secret_arn == "" ? {} : { AI_TRAINING_API_KEY = var.training_delegate_key_secret_arn }
  vendors    = { for vendor, arn in var.vendor_key_secret_arns : "${upper(vendor)}_API_KEY" => arn }
  artifacts  = var.artifacts_bucket == "" ? {} : { ARTIFACTS_URL = "s3://${var.artifacts_bucket}/${var.name}", AWS_REGION = var.region }
  every      = merge({ AUTH_MODE = "keys", API_KEYS_FILE = local.keys, DATA_DIR = local.data, LOG_LEVEL = "INFO" }, local.otlp)
  limited    = { RATE_LIMIT_ENABLED = "true" }
  otlp       = var.otlp_endpoint == "" ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint }
  probe      = ["CMD", "python", "-m", "services.chassis.probe"]
  probe_edge = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/livez', timeout=4)"]

  # cpu: its share of the task. Addresses of each other are the settings' defaults, which are loopback.
  services = {
    training = {
      image       = "training"
      cpu         = floor(var.cpu * 0.6)
      environment = merge(local.every, local.artifacts, local.limited, { TRAINING_SLOTS = tostring(var.training_slots) })
      secrets     = merge(local.database, local.redis)
      probe       = local.probe
      after       = ["prepare"]
    }
    ai_gateway = {
      image       = "ai-gateway"
      cpu         = floor(var.cpu * 0.2)
      environment = merge(local.every, local.limited)
      secrets     = merge(local.database, local.redis, local.delegate, local.vendors)
      probe       = local.probe
      after       = ["prepare"]
    }
    health = {
      image       = "health"
      cpu         = floor(var.cpu * 0.05)
      environment = local.every
      secrets     = local.database
      probe       = local.probe
      after       = ["prepare"]
    }
    # Last to start, so first to be stopped: what it has let in is still served.
    edge = {
      image       = "edge"
      cpu         = floor(var.cpu * 0.15)
      environment = merge(local.every, { DATA_DIR = "/tmp/edge", HOST = "0.0.0.0", PORT = "5000", EDGE_THREADS = "2" })
      secrets     = {}
      probe       = local.probe_edge
      after       = ["prepare", "training", "ai_gateway", "health"]
    }
  }

  logs = {
    for name in concat(keys(local.services), ["prepare"]) : name => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service.name
        awslogs-region        = var.region
        awslogs-stream-prefix = name
      }
    }
  }

  mounts = [
    { sourceVolume = "data", containerPath = local.data, readOnly = false },
    { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
  ]

  # Secrets Manager reaches a container as variables only, and keys are read from a file. It is root, because a
  # task's own volumes are; it ends before anything else begins.
  prepare = {
    name             = "prepare"
    image            = "${var.image}-edge:${var.image_tag}"
    essential        = false
    user             = "0"
    entryPoint       = ["python", "-c"]
    command          = concat([file("${path.module}/prepare.py"), local.keys, "/tmp"], local.embedded ? [] : [local.data])
    secrets          = [{ name = "API_KEYS", valueFrom = var.api_keys_secret_arn }]
    mountPoints      = concat(local.mounts, [{ sourceVolume = "keys", containerPath = "/keys", readOnly = false }])
    logConfiguration = local.logs["prepare"]
  }

  containers = [
    for name, one in local.services : {
      name                   = name
      image                  = "${var.image}-${one.image}:${var.image_tag}"
      essential              = true
      cpu                    = one.cpu
      user                   = local.user
      readonlyRootFilesystem = true
      stopTimeout            = 60
      linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
      portMappings           = name == "edge" ? [{ containerPort = 5000, protocol = "tcp" }] : []
      environment            = [for key, value in one.environment : { name = key, value = value }]
      secrets                = [for key, arn in one.secrets : { name = key, valueFrom = arn }]
      mountPoints            = concat(local.mounts, [{ sourceVolume = "keys", containerPath = "/keys", readOnly = true }])
      logConfiguration       = local.logs[name]
      dependsOn              = [for other in one.after : { containerName = other, condition = other == "prepare" ? "SUCCESS" : "HEALTHY" }]
      healthCheck            = { command = one.probe, interval = 10, timeout = 5, retries = 3, startPeriod = 120 }
    }
  ]
}

resource "aws_cloudwatch_log_group" "service" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_task_definition" "service" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(concat([local.prepare], local.containers))

  ephemeral_storage {
    size_in_gib = 100
  }

  volume {
    name = "keys"
  }

  volume {
    name = "tmp"
  }

  volume {
    name = "data"

    dynamic "efs_volume_configuration" {
      for_each = aws_efs_access_point.data
      content {
        file_system_id     = efs_volume_configuration.value.file_system_id
        transit_encryption = "ENABLED"
        authorization_config {
          access_point_id = efs_volume_configuration.value.id
          iam             = "ENABLED"
        }
      }
    }
  }
}
