# `terraform test`, without an account: what the plan says.
mock_provider "aws" {
  mock_data "aws_vpc" {
    defaults = { cidr_block = "10.0.0.0/16" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
}

variables {
  region              = "eu-central-1"
  image               = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ml-training-api"
  image_tag           = "1.0.0"
  vpc_id              = "vpc-1"
  public_subnet_ids   = ["subnet-1", "subnet-2"]
  private_subnet_ids  = ["subnet-3", "subnet-4"]
  certificate_arn     = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
  api_keys_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mlapi-keys-AbCdEf"
  vendor_key_secret_arns = {
    openai = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ml-api-keys-AbCdEf:openai-key::"
  }
}

run "embedded_is_one_task_on_efs" {
  command = plan

  assert {
    condition     = aws_ecs_service.service.desired_count == 1 && aws_ecs_service.service.deployment_maximum_percent == 100
    error_message = "Two tasks would share a SQLite file."
  }
  assert {
    condition     = length(aws_efs_file_system.data) == 1 && length(aws_appautoscaling_target.service) == 0
    error_message = "State has to outlive the task, and the task has to stay one."
  }
  assert {
    condition     = local.services.ai_gateway.secrets["OPENAI_API_KEY"] == var.vendor_key_secret_arns["openai"]
    error_message = "Keys come from Secrets Manager."
  }
  assert {
    condition     = length(setintersection(keys(local.services.training.secrets), ["OPENAI_API_KEY"])) == 0
    error_message = "A vendor's key is nobody's business but the gateway's."
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.secrets.policy, "secret:ml-api-keys-AbCdEf\"")
    error_message = "The permission names the secret without its field."
  }
  assert {
    condition = alltrue([
      for one in local.containers :
      one.user == "65532:65532" && one.readonlyRootFilesystem && one.logConfiguration.logDriver == "awslogs" && length(one.healthCheck.command) > 2
    ])
    error_message = "Containers are not root, cannot write to their root, log, and are asked how they are."
  }
}

run "scale_is_two_to_ten_tasks" {
  command = plan

  variables {
    database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:postgres-AbCdEf"
    artifacts_bucket        = "models"
    redis_url_secret_arn    = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:redis-AbCdEf"
  }

  assert {
    condition     = aws_appautoscaling_target.service[0].min_capacity == 2 && aws_appautoscaling_target.service[0].max_capacity == 10
    error_message = "Two to ten tasks."
  }
  assert {
    condition     = aws_ecs_service.service.deployment_minimum_healthy_percent == 100 && length(aws_efs_file_system.data) == 0
    error_message = "New tasks come before old ones go, and nothing is on a volume."
  }
  assert {
    condition     = alltrue([for name in ["training", "ai_gateway", "health"] : contains(keys(local.services[name].secrets), "DATABASE_URL")])
    error_message = "All of them need the database."
  }
}

run "half_of_the_state_outside_is_refused" {
  command = plan

  variables {
    database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:postgres-AbCdEf"
  }

  expect_failures = [var.database_url_secret_arn]
}
