BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008');
CREATE TABLE dataset_versions (
	dataset_id VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	content_id VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	create_time FLOAT NOT NULL, 
	PRIMARY KEY (dataset_id, version), 
	FOREIGN KEY(dataset_id) REFERENCES datasets (dataset_id) ON DELETE CASCADE
);
INSERT INTO "dataset_versions" VALUES('table',1,'c1','{"sha256":"a1","byte_count":1234,"media_type":"text/csv","row_count":100,"columns":[{"column":{"name":"x","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"y","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"kind","type":"TEXT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":3,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}}],"content_id":"c1"}',1.76732304567890095708e+09);
INSERT INTO "dataset_versions" VALUES('table',2,'c2','{"sha256":"a1","byte_count":1234,"media_type":"text/csv","row_count":100,"columns":[{"column":{"name":"x","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"y","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"kind","type":"TEXT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":3,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}}],"content_id":"c2"}',1.76732304567890095708e+09);
CREATE TABLE datasets (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	dataset_id VARCHAR NOT NULL, 
	content_id VARCHAR, 
	document JSON NOT NULL, 
	UNIQUE (dataset_id)
);
INSERT INTO "datasets" VALUES(1,'empty',NULL,'{"dataset_id":"empty","display_name":"A table","content":null,"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","version":0,"tenant":"default"}');
INSERT INTO "datasets" VALUES(2,'table','c2','{"dataset_id":"table","display_name":"A table","content":{"sha256":"a1","byte_count":1234,"media_type":"text/csv","row_count":100,"columns":[{"column":{"name":"x","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"y","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"kind","type":"TEXT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":3,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}}],"content_id":"c2"},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","version":2,"tenant":"default"}');
CREATE TABLE job_history (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	seq INTEGER, 
	kind VARCHAR NOT NULL, 
	time FLOAT NOT NULL, 
	document JSON NOT NULL, 
	UNIQUE (job_id, attempt, seq), 
	FOREIGN KEY(job_id) REFERENCES jobs (job_id) ON DELETE CASCADE
);
INSERT INTO "job_history" VALUES(1,'job-running',1,1,'point',1.76732304567890095708e+09,'{"step":1,"progress":0.1,"values":{"train_loss":1.0}}');
INSERT INTO "job_history" VALUES(2,'job-running',1,2,'event',1.76732304667890095708e+09,'{"level":"WARNING","kind":"warmed up","message":"It warmed up. ☃","data":{"host":"größe"}}');
INSERT INTO "job_history" VALUES(3,'job-running',1,NULL,'event',1.76732304667890095708e+09,'{"level":"WARNING","kind":"moved","message":"It moved. ☃","data":{"host":"größe"}}');
INSERT INTO "job_history" VALUES(4,'job-running',2,1,'point',1.76732304567890095708e+09,'{"step":2,"progress":0.2,"values":{"train_loss":0.5}}');
CREATE TABLE job_sources (
	job_id VARCHAR NOT NULL, 
	content_id VARCHAR NOT NULL, 
	PRIMARY KEY (job_id, content_id), 
	FOREIGN KEY(job_id) REFERENCES jobs (job_id) ON DELETE CASCADE
);
INSERT INTO "job_sources" VALUES('job-queued','a1');
INSERT INTO "job_sources" VALUES('job-running','c2');
INSERT INTO "job_sources" VALUES('job-cancelling','a1');
INSERT INTO "job_sources" VALUES('job-cancelled','a1');
INSERT INTO "job_sources" VALUES('job-failed','a1');
INSERT INTO "job_sources" VALUES('job-succeeded','a1');
INSERT INTO "job_sources" VALUES('job-succeeded','b2');
INSERT INTO "job_sources" VALUES('job-1-0','a1');
CREATE TABLE jobs (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	document JSON NOT NULL, attempt INTEGER DEFAULT '0' NOT NULL, tenant VARCHAR DEFAULT 'default' NOT NULL, priority INTEGER DEFAULT '0' NOT NULL, device VARCHAR DEFAULT 'cpu' NOT NULL, sweep_id VARCHAR DEFAULT '' NOT NULL, workers INTEGER DEFAULT '1' NOT NULL, 
	UNIQUE (job_id)
);
INSERT INTO "jobs" VALUES(1,'job-queued','QUEUED','{"job_id":"job-queued","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","state":"QUEUED","tenant":"default","priority":0,"progress":0.0,"step":0,"attempt":0,"losses":0,"handle":"","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"start_time":null,"end_time":null,"sweep_id":"","traceparent":"","results":[],"chosen":null}',0,'default',0,'cpu','',1);
INSERT INTO "jobs" VALUES(2,'job-running','RUNNING','{"job_id":"job-running","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":2,"content_id":"c2"},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"gpu","max_attempts":5,"time_limit":60.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","state":"RUNNING","tenant":"größe","priority":7,"progress":0.25,"step":7,"attempt":2,"losses":0,"handle":"4321:17.25","host":"","gpu":null,"shipped":0,"deadline":"2026-01-02T03:04:06.678901Z","ending":null,"dismissed":false,"evictions":0,"progress_time":"2026-01-02T03:04:05.678901Z","attempt_time":null,"attempt_progress":0.0,"checkpoints":[{"name":"step-7","attempt":1,"step":7,"progress":0.25,"time":"2026-01-02T03:04:05.678901Z","manifest_sha256":"f00d","byte_count":1099511627776,"score":0.5}],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":1.5,"cpu_seconds":1.25,"gpu_seconds":0.0,"samples":300},"error":null,"start_time":"2026-01-02T03:04:05.678901Z","end_time":null,"sweep_id":"","traceparent":"","results":[],"chosen":null}',2,'größe',7,'gpu','',1);
INSERT INTO "jobs" VALUES(3,'job-cancelling','CANCELLING','{"job_id":"job-cancelling","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:06.678901Z","state":"CANCELLING","tenant":"default","priority":0,"progress":0.0,"step":0,"attempt":1,"losses":0,"handle":"4322:18.25","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"start_time":"2026-01-02T03:04:05.678901Z","end_time":null,"sweep_id":"","traceparent":"","results":[],"chosen":null}',1,'default',0,'cpu','',1);
INSERT INTO "jobs" VALUES(4,'job-cancelled','CANCELLED','{"job_id":"job-cancelled","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:06.678901Z","state":"CANCELLED","tenant":"default","priority":0,"progress":0.0,"step":0,"attempt":0,"losses":0,"handle":"","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"start_time":null,"end_time":"2026-01-02T03:04:06.678901Z","sweep_id":"","traceparent":"","results":[],"chosen":null}',0,'default',0,'cpu','',1);
INSERT INTO "jobs" VALUES(5,'job-failed','FAILED','{"job_id":"job-failed","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:06.678901Z","state":"FAILED","tenant":"default","priority":0,"progress":0.0,"step":0,"attempt":1,"losses":0,"handle":"","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":{"code":"INVALID_ARGUMENT","reason":"UNTRAINABLE_DATA","message":"one class"},"start_time":"2026-01-02T03:04:05.678901Z","end_time":"2026-01-02T03:04:06.678901Z","sweep_id":"","traceparent":"","results":[],"chosen":null}',1,'default',0,'cpu','',1);
INSERT INTO "jobs" VALUES(6,'job-succeeded','SUCCEEDED','{"job_id":"job-succeeded","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"y","target_type":"FLOAT","task":"regression","hyperparameters":{"algorithm":"linear","l2":2.5,"max_iterations":1000,"tolerance":1e-6,"l1":0.0},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":{"dataset_id":"v","sha256":"b2","version":1,"content_id":""},"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:06.678901Z","state":"SUCCEEDED","tenant":"default","priority":0,"progress":1.0,"step":0,"attempt":1,"losses":0,"handle":"","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{"accuracy":0.9},"test_metrics":{},"model_id":"model-1","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"start_time":"2026-01-02T03:04:05.678901Z","end_time":"2026-01-02T03:04:06.678901Z","sweep_id":"","traceparent":"","results":[],"chosen":null}',1,'default',0,'cpu','',1);
INSERT INTO "jobs" VALUES(7,'job-1-0','QUEUED','{"job_id":"job-1-0","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","state":"QUEUED","tenant":"default","priority":0,"progress":0.0,"step":0,"attempt":0,"losses":0,"handle":"","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"start_time":null,"end_time":null,"sweep_id":"sweep-1","traceparent":"","results":[],"chosen":null}',0,'default',0,'cpu','sweep-1',1);
CREATE TABLE models (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	model_id VARCHAR NOT NULL, 
	document JSON NOT NULL, content_id VARCHAR DEFAULT '' NOT NULL, 
	UNIQUE (model_id)
);
INSERT INTO "models" VALUES(1,'model-1','{"model_id":"model-1","display_name":"A job","job_id":"job-1","source":{"dataset_id":"table","sha256":"a1","version":2,"content_id":"c2"},"algorithm":"mlp","task":"classification","target":"kind","target_type":"TEXT","features":[{"name":"x","categorical":false},{"name":"größe","categorical":true}],"classes":["rose","tulip"],"weights_sha256":"f00d","validation_metrics":{"accuracy":0.9},"test_metrics":{},"warnings":["a column was left out"],"create_time":"2026-01-02T03:04:05.678901Z","test_confusion":[],"tenant":"default"}','c2');
CREATE TABLE registered_models (
	name VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "registered_models" VALUES('roses','default','{"name":"roses","create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:06.678901Z","tenant":"default","versions":[{"version":1,"model_id":"model-1","create_time":"2026-01-02T03:04:06.678901Z","enhancement_id":"","comment":"größe"}],"aliases":{"champion":1},"last_version":1}');
CREATE TABLE registered_versions (
	name VARCHAR NOT NULL, 
	model_id VARCHAR NOT NULL, 
	PRIMARY KEY (name, model_id), 
	FOREIGN KEY(name) REFERENCES registered_models (name) ON DELETE CASCADE
);
INSERT INTO "registered_versions" VALUES('roses','model-1');
CREATE TABLE requests (
	request_id VARCHAR NOT NULL, 
	method VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	answer JSON, create_time FLOAT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (request_id)
);
INSERT INTO "requests" VALUES('none','Method','f00d',NULL,1.76732304567890095708e+09);
INSERT INTO "requests" VALUES('job','Method','f00d','{"kind":"job","document":{"job_id":"job-queued","display_name":"A job","spec":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","state":"QUEUED","tenant":"default","priority":0,"progress":0.0,"step":0,"attempt":0,"losses":0,"handle":"","host":"","gpu":null,"shipped":0,"deadline":null,"ending":null,"dismissed":false,"evictions":0,"progress_time":null,"attempt_time":null,"attempt_progress":0.0,"checkpoints":[],"validation_metrics":{},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"start_time":null,"end_time":null,"sweep_id":"","traceparent":"","results":[],"chosen":null}}',1.76732304567890095708e+09);
INSERT INTO "requests" VALUES('dataset','Method','f00d','{"kind":"dataset","document":{"dataset_id":"table","display_name":"A table","content":{"sha256":"a1","byte_count":1234,"media_type":"text/csv","row_count":100,"columns":[{"column":{"name":"x","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"y","type":"FLOAT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":100,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}},{"column":{"name":"kind","type":"TEXT","nullable":false},"profile":{"count":100,"null_count":0,"distinct_count":3,"minimum":0.0,"maximum":1.0,"mean":0.5,"standard_deviation":0.25,"top_values":[["é ☃",3]]}}],"content_id":"c2"},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","version":2,"tenant":"default"}}',1.76732304567890095708e+09);
INSERT INTO "requests" VALUES('upload','Method','f00d','{"kind":"upload","document":{"upload_id":"upload-1","dataset_id":"table","reading":{"media_type":"text/csv","compression":"gzip","column_types":[["größe","TEXT"]],"null_values":["","n/a"]},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","expire_time":"2026-01-02T03:04:06.678901Z","committed":0,"byte_count":0,"tenant":"default","last":""}}',1.76732304567890095708e+09);
CREATE TABLE sweeps (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	sweep_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	UNIQUE (sweep_id)
);
INSERT INTO "sweeps" VALUES(1,'sweep-1','RUNNING','default','{"sweep_id":"sweep-1","display_name":"A sweep","base":{"train":{"dataset_id":"table","sha256":"a1","version":1,"content_id":""},"target":"kind","target_type":"TEXT","task":"classification","hyperparameters":{"algorithm":"mlp","hidden_sizes":[128,128],"max_epochs":100,"batch_size":64,"learning_rate":0.002,"weight_decay":0.01,"dropout":0.2,"ensemble_size":4,"early_stopping_patience":30,"label_smoothing":0.1,"architecture":"real_mlp","precision":"float32"},"seed":0,"validation_fraction":0.15,"test_fraction":0.15,"validation":null,"test":null,"warm_start_model_id":"","device":"cpu","max_attempts":3,"time_limit":0.0,"weighting":{"column":"","class_weight":null,"class_weights":[]},"split_seed":null,"excluded_columns":[],"transforms":[],"candidates":[],"ranked_by":"","prune_above":[],"folds":1,"workers":1},"rows":100,"space":{"parameters":[{"name":"learning_rate","range":{"low":0.001,"high":0.1,"log":true,"kind":"float"},"conditions":[]},{"name":"batch_size","range":{"low":16,"high":64,"log":false,"step":16,"kind":"int"},"conditions":[]},{"name":"hidden_sizes","range":{"values":[[16],[32,32]],"kind":"choice"},"conditions":[{"parameter":"batch_size","values":[16]}]}]},"sampler":"tpe","budget":{"max_trials":4,"max_seconds":0.0,"max_cost_usd":0.0},"metric":"log_loss","parallel":2,"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","begin_time":"2026-01-02T03:04:05.678901Z","tenant":"default","priority":0,"traceparent":"","proposals":[{"values":{"hidden_sizes":[16],"learning_rate":0.01},"source":"größe"}],"rejections":[{"index":1,"source":"proposal","reason":"values.x: unknown"}],"warm_start_sweep_ids":[],"learned":[{"values":{"learning_rate":0.02},"loss":-0.5}],"state":"RUNNING","trials":[{"number":0,"values":{"hidden_sizes":[16],"learning_rate":0.01},"source":"größe","job_id":"job-1-0","state":"SUCCEEDED","validation_metrics":{"f1":0.5},"test_metrics":{},"model_id":"","usage":{"wall_seconds":0.0,"cpu_seconds":0.0,"gpu_seconds":0.0,"samples":0},"error":null,"prune_above":[],"rungs":[]}],"earlier_seconds":0.0,"error":null,"end_time":null,"keep_models":false,"pruner":"none"}');
CREATE TABLE training_audit (
	seq BIGINT NOT NULL, 
	time VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	method VARCHAR NOT NULL, 
	resource VARCHAR NOT NULL, 
	request_id VARCHAR NOT NULL, 
	trace_id VARCHAR NOT NULL, 
	code VARCHAR NOT NULL, 
	left_out BIGINT NOT NULL, 
	previous VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (seq)
)
 WITHOUT ROWID

;
INSERT INTO "training_audit" VALUES(1,'2026-01-02T03:04:06.678901+00:00','größe','0123456789ab','/mlapi.training.v1.JobService/CancelJob','job-1','request-1','00000000000000000000000000000000','OK',0,'0000000000000000000000000000000000000000000000000000000000000000','c861a10f35f98f0eaf951810473e2a7b84247aff3a2565dc58469985ecd756fe');
INSERT INTO "training_audit" VALUES(2,'2026-01-02T03:04:06.678901+00:00','größe','0123456789ab','/mlapi.training.v1.JobService/CancelJob','job-2','request-1','00000000000000000000000000000000','OK',0,'c861a10f35f98f0eaf951810473e2a7b84247aff3a2565dc58469985ecd756fe','69b480ef27fa911d53f09a14ac24f7f41046a4b2b21f7b297487f5a5ff4e69fa');
CREATE TABLE training_rates (
	name VARCHAR NOT NULL, 
	slots TEXT NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID

;
INSERT INTO "training_rates" VALUES('{caller}:requests:50:3600:training','7:1 8:2',9.0);
CREATE TABLE uploads (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	upload_id VARCHAR NOT NULL, 
	expire_time FLOAT NOT NULL, 
	document JSON NOT NULL, 
	UNIQUE (upload_id)
);
INSERT INTO "uploads" VALUES(1,'upload-1',1.76732304667890095708e+09,'{"upload_id":"upload-1","dataset_id":"table","reading":{"media_type":"text/csv","compression":"gzip","column_types":[["größe","TEXT"]],"null_values":["","n/a"]},"create_time":"2026-01-02T03:04:05.678901Z","update_time":"2026-01-02T03:04:05.678901Z","expire_time":"2026-01-02T03:04:06.678901Z","committed":0,"byte_count":0,"tenant":"default","last":""}');
CREATE INDEX ix_jobs_state ON jobs (state);
CREATE INDEX ix_datasets_content_id ON datasets (content_id);
CREATE INDEX ix_job_sources_content_id ON job_sources (content_id);
CREATE INDEX job_history_of_job ON job_history (job_id, position, kind);
CREATE INDEX ix_models_content_id ON models (content_id);
CREATE INDEX ix_dataset_versions_content_id ON dataset_versions (content_id);
CREATE INDEX ix_uploads_expire_time ON uploads (expire_time);
CREATE INDEX ix_requests_create_time ON requests (create_time);
CREATE INDEX ix_sweeps_state ON sweeps (state);
CREATE INDEX ix_registered_versions_model_id ON registered_versions (model_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('datasets',3);
INSERT INTO "sqlite_sequence" VALUES('jobs',7);
INSERT INTO "sqlite_sequence" VALUES('job_history',4);
INSERT INTO "sqlite_sequence" VALUES('models',1);
INSERT INTO "sqlite_sequence" VALUES('uploads',1);
INSERT INTO "sqlite_sequence" VALUES('sweeps',1);
COMMIT;
