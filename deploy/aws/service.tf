resource "aws_ecs_cluster" "service" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_service" "service" {
  name             = var.name
  cluster          = aws_ecs_cluster.service.id
  task_definition  = aws_ecs_task_definition.service.arn
  desired_count    = local.embedded ? 1 : var.min_tasks
  launch_type      = "FARGATE"
  platform_version = "1.4.0"
  propagate_tags   = "SERVICE"
  # Two tasks on one SQLite file would spoil it: the old one goes first. Else the new ones come first.
  deployment_minimum_healthy_percent = local.embedded ? 0 : 100
  deployment_maximum_percent         = local.embedded ? 100 : 200
  # A task is ready when its edge is, and that may wait for a migration.
  health_check_grace_period_seconds = 300
  availability_zone_rebalancing     = local.embedded ? "DISABLED" : "ENABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.task.id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = aws_lb_target_group.edge
    content {
      target_group_arn = load_balancer.value.arn
      container_name   = "edge"
      container_port   = 5000
    }
  }

  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.https, aws_lb_listener_rule.grpc, aws_efs_mount_target.data]
}

resource "aws_appautoscaling_target" "service" {
  count              = local.embedded ? 0 : 1
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.service.name}/${aws_ecs_service.service.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
}

resource "aws_appautoscaling_policy" "cpu" {
  count              = local.embedded ? 0 : 1
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service[0].service_namespace
  resource_id        = aws_appautoscaling_target.service[0].resource_id
  scalable_dimension = aws_appautoscaling_target.service[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 70
    scale_out_cooldown = 60
    # A task that goes takes what it trains with it, to be resumed elsewhere.
    scale_in_cooldown = 600

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
