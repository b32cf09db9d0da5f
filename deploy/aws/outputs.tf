output "url" {
  description = "Where the load balancer answers; point the certificate's name to it."
  value       = "https://${aws_lb.edge.dns_name}"
}

output "task_definition" {
  description = "As ECS takes it, for those who deploy it in another way."
  value       = aws_ecs_task_definition.service.container_definitions
}

output "log_group" {
  value = aws_cloudwatch_log_group.service.name
}
