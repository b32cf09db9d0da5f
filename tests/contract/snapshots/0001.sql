BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE datasets (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	dataset_id VARCHAR NOT NULL, 
	sha256 VARCHAR, 
	document JSON NOT NULL, 
	UNIQUE (dataset_id)
);
INSERT INTO "datasets" VALUES(1,'empty',NULL,'{"dataset_id": "empty", "display_name": "A table", "content": null, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:05.678901Z"}');
INSERT INTO "datasets" VALUES(2,'table','a1','{"dataset_id": "table", "display_name": "A table", "content": {"sha256": "a1", "byte_count": 1234, "media_type": "text/csv", "row_count": 100, "columns": [{"column": {"name": "x", "type": "FLOAT", "nullable": false}, "profile": {"count": 100, "null_count": 0, "distinct_count": 100, "minimum": 0.0, "maximum": 1.0, "mean": 0.5, "standard_deviation": 0.25, "top_values": [["\u00e9 \u2603", 3]]}}, {"column": {"name": "y", "type": "FLOAT", "nullable": false}, "profile": {"count": 100, "null_count": 0, "distinct_count": 100, "minimum": 0.0, "maximum": 1.0, "mean": 0.5, "standard_deviation": 0.25, "top_values": [["\u00e9 \u2603", 3]]}}, {"column": {"name": "kind", "type": "TEXT", "nullable": false}, "profile": {"count": 100, "null_count": 0, "distinct_count": 3, "minimum": 0.0, "maximum": 1.0, "mean": 0.5, "standard_deviation": 0.25, "top_values": [["\u00e9 \u2603", 3]]}}]}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:05.678901Z"}');
CREATE TABLE job_sources (
	job_id VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	PRIMARY KEY (job_id, sha256), 
	FOREIGN KEY(job_id) REFERENCES jobs (job_id) ON DELETE CASCADE
);
INSERT INTO "job_sources" VALUES('job-queued','a1');
INSERT INTO "job_sources" VALUES('job-running','a1');
INSERT INTO "job_sources" VALUES('job-cancelling','a1');
INSERT INTO "job_sources" VALUES('job-cancelled','a1');
INSERT INTO "job_sources" VALUES('job-failed','a1');
INSERT INTO "job_sources" VALUES('job-succeeded','a1');
INSERT INTO "job_sources" VALUES('job-succeeded','b2');
CREATE TABLE jobs (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	UNIQUE (job_id)
);
INSERT INTO "jobs" VALUES(1,'job-queued','QUEUED','{"job_id": "job-queued", "display_name": "A job", "spec": {"train": {"dataset_id": "table", "sha256": "a1"}, "target": "kind", "target_type": "TEXT", "task": "classification", "hyperparameters": {"algorithm": "mlp", "hidden_sizes": [128, 128], "max_epochs": 100, "batch_size": 64, "learning_rate": 0.002, "weight_decay": 0.01, "dropout": 0.2, "ensemble_size": 4, "early_stopping_patience": 30}, "seed": 0, "validation_fraction": 0.15, "test_fraction": 0.15, "validation": null, "test": null}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:05.678901Z", "state": "QUEUED", "progress": 0.0, "attempt": 0, "losses": 0, "handle": "", "validation_metrics": {}, "test_metrics": {}, "model_id": "", "usage": {"wall_seconds": 0.0, "cpu_seconds": 0.0, "gpu_seconds": 0.0, "samples": 0}, "error": null, "start_time": null, "end_time": null}');
INSERT INTO "jobs" VALUES(2,'job-running','RUNNING','{"job_id": "job-running", "display_name": "A job", "spec": {"train": {"dataset_id": "table", "sha256": "a1"}, "target": "kind", "target_type": "TEXT", "task": "classification", "hyperparameters": {"algorithm": "mlp", "hidden_sizes": [128, 128], "max_epochs": 100, "batch_size": 64, "learning_rate": 0.002, "weight_decay": 0.01, "dropout": 0.2, "ensemble_size": 4, "early_stopping_patience": 30}, "seed": 0, "validation_fraction": 0.15, "test_fraction": 0.15, "validation": null, "test": null}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:05.678901Z", "state": "RUNNING", "progress": 0.25, "attempt": 1, "losses": 0, "handle": "4321:17.25", "validation_metrics": {}, "test_metrics": {}, "model_id": "", "usage": {"wall_seconds": 1.5, "cpu_seconds": 1.25, "gpu_seconds": 0.0, "samples": 300}, "error": null, "start_time": "2026-01-02T03:04:05.678901Z", "end_time": null}');
INSERT INTO "jobs" VALUES(3,'job-cancelling','CANCELLING','{"job_id": "job-cancelling", "display_name": "A job", "spec": {"train": {"dataset_id": "table", "sha256": "a1"}, "target": "kind", "target_type": "TEXT", "task": "classification", "hyperparameters": {"algorithm": "mlp", "hidden_sizes": [128, 128], "max_epochs": 100, "batch_size": 64, "learning_rate": 0.002, "weight_decay": 0.01, "dropout": 0.2, "ensemble_size": 4, "early_stopping_patience": 30}, "seed": 0, "validation_fraction": 0.15, "test_fraction": 0.15, "validation": null, "test": null}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:06.678901Z", "state": "CANCELLING", "progress": 0.0, "attempt": 1, "losses": 0, "handle": "4322:18.25", "validation_metrics": {}, "test_metrics": {}, "model_id": "", "usage": {"wall_seconds": 0.0, "cpu_seconds": 0.0, "gpu_seconds": 0.0, "samples": 0}, "error": null, "start_time": "2026-01-02T03:04:05.678901Z", "end_time": null}');
INSERT INTO "jobs" VALUES(4,'job-cancelled','CANCELLED','{"job_id": "job-cancelled", "display_name": "A job", "spec": {"train": {"dataset_id": "table", "sha256": "a1"}, "target": "kind", "target_type": "TEXT", "task": "classification", "hyperparameters": {"algorithm": "mlp", "hidden_sizes": [128, 128], "max_epochs": 100, "batch_size": 64, "learning_rate": 0.002, "weight_decay": 0.01, "dropout": 0.2, "ensemble_size": 4, "early_stopping_patience": 30}, "seed": 0, "validation_fraction": 0.15, "test_fraction": 0.15, "validation": null, "test": null}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:06.678901Z", "state": "CANCELLED", "progress": 0.0, "attempt": 0, "losses": 0, "handle": "", "validation_metrics": {}, "test_metrics": {}, "model_id": "", "usage": {"wall_seconds": 0.0, "cpu_seconds": 0.0, "gpu_seconds": 0.0, "samples": 0}, "error": null, "start_time": null, "end_time": "2026-01-02T03:04:06.678901Z"}');
INSERT INTO "jobs" VALUES(5,'job-failed','FAILED','{"job_id": "job-failed", "display_name": "A job", "spec": {"train": {"dataset_id": "table", "sha256": "a1"}, "target": "kind", "target_type": "TEXT", "task": "classification", "hyperparameters": {"algorithm": "mlp", "hidden_sizes": [128, 128], "max_epochs": 100, "batch_size": 64, "learning_rate": 0.002, "weight_decay": 0.01, "dropout": 0.2, "ensemble_size": 4, "early_stopping_patience": 30}, "seed": 0, "validation_fraction": 0.15, "test_fraction": 0.15, "validation": null, "test": null}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:06.678901Z", "state": "FAILED", "progress": 0.0, "attempt": 1, "losses": 0, "handle": "", "validation_metrics": {}, "test_metrics": {}, "model_id": "", "usage": {"wall_seconds": 0.0, "cpu_seconds": 0.0, "gpu_seconds": 0.0, "samples": 0}, "error": {"code": "INVALID_ARGUMENT", "reason": "UNTRAINABLE_DATA", "message": "one class"}, "start_time": "2026-01-02T03:04:05.678901Z", "end_time": "2026-01-02T03:04:06.678901Z"}');
INSERT INTO "jobs" VALUES(6,'job-succeeded','SUCCEEDED','{"job_id": "job-succeeded", "display_name": "A job", "spec": {"train": {"dataset_id": "table", "sha256": "a1"}, "target": "y", "target_type": "FLOAT", "task": "regression", "hyperparameters": {"algorithm": "linear", "l2": 2.5, "max_iterations": 1000, "tolerance": 1e-06}, "seed": 0, "validation_fraction": 0.15, "test_fraction": 0.15, "validation": {"dataset_id": "v", "sha256": "b2"}, "test": null}, "create_time": "2026-01-02T03:04:05.678901Z", "update_time": "2026-01-02T03:04:06.678901Z", "state": "SUCCEEDED", "progress": 1.0, "attempt": 1, "losses": 0, "handle": "", "validation_metrics": {"accuracy": 0.9}, "test_metrics": {}, "model_id": "model-1", "usage": {"wall_seconds": 0.0, "cpu_seconds": 0.0, "gpu_seconds": 0.0, "samples": 0}, "error": null, "start_time": "2026-01-02T03:04:05.678901Z", "end_time": "2026-01-02T03:04:06.678901Z"}');
CREATE TABLE metric_points (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	progress FLOAT NOT NULL, 
	time FLOAT NOT NULL, 
	numbers JSON NOT NULL, 
	FOREIGN KEY(job_id) REFERENCES jobs (job_id) ON DELETE CASCADE
);
INSERT INTO "metric_points" VALUES(1,'job-succeeded',1,1,3.33333333333333314829e-01,1.76732304667890095708e+09,'{"train_loss": 1.0}');
INSERT INTO "metric_points" VALUES(2,'job-succeeded',1,2,6.66666666666666629659e-01,1.76732304767890095707e+09,'{"train_loss": 0.5}');
INSERT INTO "metric_points" VALUES(3,'job-succeeded',1,3,1.0,1.76732304867890095711e+09,'{"train_loss": 0.3333333333333333}');
INSERT INTO "metric_points" VALUES(4,'job-running',1,7,0.25,1.76732304567890095708e+09,'{"train_loss": 0.5}');
CREATE TABLE models (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	model_id VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	UNIQUE (model_id)
);
INSERT INTO "models" VALUES(1,'model-1','{"model_id": "model-1", "display_name": "A job", "job_id": "job-succeeded", "source": {"dataset_id": "table", "sha256": "a1"}, "algorithm": "mlp", "task": "classification", "target": "kind", "target_type": "TEXT", "features": [{"name": "x", "categorical": false}, {"name": "gr\u00f6\u00dfe", "categorical": true}], "classes": ["rose", "tulip"], "weights_sha256": "f00d", "validation_metrics": {"accuracy": 0.9}, "test_metrics": {}, "warnings": ["a column was left out"], "create_time": "2026-01-02T03:04:05.678901Z"}');
CREATE TABLE requests (
	request_id VARCHAR NOT NULL, 
	method VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	resource_id VARCHAR NOT NULL, 
	PRIMARY KEY (request_id)
);
INSERT INTO "requests" VALUES('request-1','CreateJob','f00d','job-queued');
CREATE INDEX ix_datasets_sha256 ON datasets (sha256);
CREATE INDEX ix_jobs_state ON jobs (state);
CREATE INDEX ix_job_sources_sha256 ON job_sources (sha256);
CREATE INDEX metric_points_of_job ON metric_points (job_id, position);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('datasets',2);
INSERT INTO "sqlite_sequence" VALUES('jobs',6);
INSERT INTO "sqlite_sequence" VALUES('metric_points',4);
INSERT INTO "sqlite_sequence" VALUES('models',1);
COMMIT;
