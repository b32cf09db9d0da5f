resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Callers"
  vpc_id      = var.vpc_id

  ingress {
    description = "HTTPS"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = var.allowed_cidrs
  }

  egress {
    description = "Tasks"
    from_port   = 5000
    to_port     = 5000
    protocol    = "tcp"
    cidr_blocks = [data.aws_vpc.this.cidr_block]
  }
}

resource "aws_security_group" "task" {
  name        = "${var.name}-task"
  description = "The edge of each task"
  vpc_id      = var.vpc_id

  ingress {
    description     = "Load balancer"
    from_port       = 5000
    to_port         = 5000
    protocol        = "tcp"
    security_groups = [aws_security_group.balancer.id]
  }

  egress {
    description = "AI vendors, databases, Secrets Manager"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_lb" "edge" {
  name                       = var.name
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer.id]
  subnets                    = var.public_subnet_ids
  drop_invalid_header_fields = true
  # A watch may be silent for long, and an upload slow.
  idle_timeout = 3600
}

locals {
  protocols = {
    rest = { version = "HTTP1", path = "/livez", matcher = "200" }
    grpc = { version = "GRPC", path = "/grpc.health.v1.Health/Check", matcher = "0" }
  }
}

# The edge serves both on one port; the load balancer has to be told which of them it speaks.
resource "aws_lb_target_group" "edge" {
  for_each             = local.protocols
  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  port                 = 5000
  protocol             = "HTTP"
  protocol_version     = each.value.version
  deregistration_delay = 60

  health_check {
    path                = each.value.path
    matcher             = each.value.matcher
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.edge.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.edge["rest"].arn
  }
}

resource "aws_lb_listener_rule" "grpc" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.edge["grpc"].arn
  }

  condition {
    http_header {
      http_header_name = "content-type"
      values           = ["application/grpc*"]
    }
  }
}
