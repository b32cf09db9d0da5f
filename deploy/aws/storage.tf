# State of an installation without RDS and S3: it outlives tasks. One task at a time mounts it, so that SQLite's locks and its
# shared memory are those of one kernel; two tasks are what NFS cannot give it.
resource "aws_efs_file_system" "data" {
  count            = local.embedded ? 1 : 0
  creation_token   = var.name
  encrypted        = true
  throughput_mode  = "elastic"
  performance_mode = "generalPurpose"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_efs_backup_policy" "data" {
  count          = local.embedded ? 1 : 0
  file_system_id = aws_efs_file_system.data[0].id

  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_access_point" "data" {
  count          = local.embedded ? 1 : 0
  file_system_id = aws_efs_file_system.data[0].id

  posix_user {
    uid = 65532
    gid = 65532
  }

  root_directory {
    path = "/data"
    creation_info {
      owner_uid   = 65532
      owner_gid   = 65532
      permissions = "0750"
    }
  }
}

resource "aws_efs_mount_target" "data" {
  count           = local.embedded ? length(var.private_subnet_ids) : 0
  file_system_id  = aws_efs_file_system.data[0].id
  subnet_id       = var.private_subnet_ids[count.index]
  security_groups = [aws_security_group.data[0].id]
}

resource "aws_security_group" "data" {
  count       = local.embedded ? 1 : 0
  name        = "${var.name}-data"
  description = "NFS of the tasks"
  vpc_id      = var.vpc_id

  ingress {
    description     = "Tasks"
    from_port       = 2049
    to_port         = 2049
    protocol        = "tcp"
    security_groups = [aws_security_group.task.id]
  }
}
