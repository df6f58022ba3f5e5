-- A store as the twelfth version wrote it, one trial without a token as of an earlier one. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE autotune_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT autotune_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "autotune_version" VALUES('m012_claims');
CREATE TABLE claim (
    subject TEXT NOT NULL,
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    beat_at TEXT NOT NULL,
    CONSTRAINT pk_claim PRIMARY KEY (subject)
);
CREATE TABLE condition (
    trial_number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    sample_kind TEXT NOT NULL,
    sample_position INTEGER NOT NULL,
    complaint TEXT NOT NULL,
    CONSTRAINT pk_condition PRIMARY KEY (trial_number, position),
    CONSTRAINT fk_condition_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE config (
    id INTEGER CONSTRAINT pk_config PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    choices TEXT NOT NULL,
    CONSTRAINT uq_config_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "config" VALUES(1,'b2:2afb9b83f9314e5d029766197f539792','{}');
INSERT INTO "config" VALUES(2,'b2:89ca81b04a197c0804d60455ce67172a','{"precision":"bf16"}');
INSERT INTO "config" VALUES(3,'b2:d3ead05a517be143b377759e6a6cf083','{"engine":"compile"}');
CREATE TABLE failure (
    trial_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    phase TEXT NOT NULL,
    message TEXT NOT NULL,
    log TEXT NOT NULL,
    peak_bytes BIGINT,
    CONSTRAINT pk_failure PRIMARY KEY (trial_number),
    CONSTRAINT fk_failure_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
INSERT INTO "failure" VALUES(3,'crash','compile','the process died','the log',7);
CREATE TABLE fidelity (
    trial_number INTEGER NOT NULL,
    metric TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_fidelity PRIMARY KEY (trial_number, metric),
    CONSTRAINT fk_fidelity_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
INSERT INTO "fidelity" VALUES(2,'psnr_db',41.7);
INSERT INTO "fidelity" VALUES(2,'ssim',0.99);
INSERT INTO "fidelity" VALUES(4,'psnr_db',41.7);
INSERT INTO "fidelity" VALUES(4,'ssim',0.99);
INSERT INTO "fidelity" VALUES(6,'psnr_db',41.7);
INSERT INTO "fidelity" VALUES(6,'ssim',0.99);
CREATE TABLE machine (
    id INTEGER CONSTRAINT pk_machine PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    device TEXT NOT NULL,
    device_name TEXT NOT NULL,
    facts TEXT NOT NULL,
    CONSTRAINT uq_machine_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "machine" VALUES(1,'b2:381455d8739bc333d29dae6ddcff420f','cuda:0','NVIDIA H200','{"cores":16,"device":"cuda:0","device_bytes":151397597184,"device_count":1,"device_name":"NVIDIA H200","host_bytes":137438953472,"int8_saturates":false,"native_dtypes":["float32","bfloat16"],"system":"Linux","threads":0}');
CREATE TABLE memory (
    trial_number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    place TEXT NOT NULL,
    phase TEXT NOT NULL,
    source TEXT NOT NULL,
    peak_bytes BIGINT NOT NULL,
    CONSTRAINT pk_memory PRIMARY KEY (trial_number, position),
    CONSTRAINT fk_memory_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
INSERT INTO "memory" VALUES(1,0,'host','steady','rss',1073741824);
INSERT INTO "memory" VALUES(1,1,'device','steady','allocator',2147483648);
INSERT INTO "memory" VALUES(2,0,'host','steady','rss',1073741824);
INSERT INTO "memory" VALUES(2,1,'device','steady','allocator',2147483648);
INSERT INTO "memory" VALUES(4,0,'host','steady','rss',1073741824);
INSERT INTO "memory" VALUES(4,1,'device','steady','allocator',2147483648);
INSERT INTO "memory" VALUES(5,0,'host','steady','rss',1073741824);
INSERT INTO "memory" VALUES(5,1,'device','steady','allocator',2147483648);
INSERT INTO "memory" VALUES(6,0,'host','steady','rss',1073741824);
INSERT INTO "memory" VALUES(6,1,'device','steady','allocator',2147483648);
INSERT INTO "memory" VALUES(7,0,'host','steady','rss',1073741824);
INSERT INTO "memory" VALUES(7,1,'device','steady','allocator',2147483648);
CREATE TABLE proposal (
    trial_number INTEGER NOT NULL,
    reason TEXT NOT NULL,
    speedup DOUBLE PRECISION,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    peak_ratio DOUBLE PRECISION,
    peak_low DOUBLE PRECISION,
    peak_high DOUBLE PRECISION,
    feasible DOUBLE PRECISION,
    cost_s DOUBLE PRECISION,
    CONSTRAINT pk_proposal PRIMARY KEY (trial_number),
    CONSTRAINT fk_proposal_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE sample (
    trial_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    seconds DOUBLE PRECISION NOT NULL, turn INTEGER,
    CONSTRAINT pk_sample PRIMARY KEY (trial_number, kind, position),
    CONSTRAINT fk_sample_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
INSERT INTO "sample" VALUES(1,'load',0,2.0,NULL);
INSERT INTO "sample" VALUES(1,'first_call',0,5.0,NULL);
INSERT INTO "sample" VALUES(1,'steady',0,4.0,NULL);
INSERT INTO "sample" VALUES(1,'steady',1,5.0,NULL);
INSERT INTO "sample" VALUES(1,'steady',2,4.5,NULL);
INSERT INTO "sample" VALUES(2,'load',0,2.0,NULL);
INSERT INTO "sample" VALUES(2,'first_call',0,5.0,NULL);
INSERT INTO "sample" VALUES(2,'steady',0,2.0,NULL);
INSERT INTO "sample" VALUES(2,'steady',1,2.5,NULL);
INSERT INTO "sample" VALUES(2,'steady',2,2.25,NULL);
INSERT INTO "sample" VALUES(4,'load',0,2.0,NULL);
INSERT INTO "sample" VALUES(4,'first_call',0,5.0,NULL);
INSERT INTO "sample" VALUES(4,'steady',0,1.1,NULL);
INSERT INTO "sample" VALUES(5,'load',0,2.0,NULL);
INSERT INTO "sample" VALUES(5,'first_call',0,5.0,NULL);
INSERT INTO "sample" VALUES(5,'steady',0,3.1,NULL);
INSERT INTO "sample" VALUES(6,'load',0,2.0,NULL);
INSERT INTO "sample" VALUES(6,'first_call',0,5.0,NULL);
INSERT INTO "sample" VALUES(6,'steady',0,1.2,NULL);
INSERT INTO "sample" VALUES(7,'load',0,2.0,NULL);
INSERT INTO "sample" VALUES(7,'first_call',0,5.0,NULL);
INSERT INTO "sample" VALUES(7,'steady',0,3.2,NULL);
CREATE TABLE software (
    id INTEGER CONSTRAINT pk_software PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    versions TEXT NOT NULL,
    CONSTRAINT uq_software_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "software" VALUES(1,'b2:2766677409d85edd2569a52877a21ec2','{"diffusers":"0.42.1","torch":"2.10.0"}');
CREATE TABLE study (
    id INTEGER CONSTRAINT pk_study PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    machine_id INTEGER NOT NULL,
    software_id INTEGER NOT NULL,
    workload_id INTEGER NOT NULL,
    memory_bytes BIGINT,
    space TEXT NOT NULL,
    created_at TEXT NOT NULL, host_memory_bytes BIGINT, quality TEXT, objective TEXT,
    CONSTRAINT uq_study_fingerprint UNIQUE (fingerprint),
    CONSTRAINT fk_study_machine_id FOREIGN KEY (machine_id) REFERENCES machine (id),
    CONSTRAINT fk_study_software_id FOREIGN KEY (software_id) REFERENCES software (id),
    CONSTRAINT fk_study_workload_id FOREIGN KEY (workload_id) REFERENCES workload (id)
);
INSERT INTO "study" VALUES(1,'b2:bc9f4d96c8c21a33d89e5128f6e4b459',1,1,1,NULL,'{"precision":["fp32","bf16"]}','2026-11-30T20:34:47+00:00',NULL,NULL,NULL);
INSERT INTO "study" VALUES(2,'b2:46fe5bd05df649a2b3b5b7c481dda3c5',1,1,1,1073741824,'{"precision":["fp32","bf16"]}','2026-11-30T20:34:48+00:00',NULL,'near',NULL);
CREATE TABLE trial (
    number INTEGER CONSTRAINT pk_trial PRIMARY KEY AUTOINCREMENT,
    study_id INTEGER NOT NULL,
    config_id INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    started_at TEXT NOT NULL,
    cost_s DOUBLE PRECISION NOT NULL, race TEXT, round INTEGER, images INTEGER, incumbent INTEGER, token TEXT,
    CONSTRAINT fk_trial_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT fk_trial_config_id FOREIGN KEY (config_id) REFERENCES config (id)
);
INSERT INTO "trial" VALUES(1,1,1,'baseline','2026-01-31T12:00:00+00:00',9.0,NULL,NULL,2,NULL,'8d1511e5f0bb4bd98d332946410adf08');
INSERT INTO "trial" VALUES(2,1,2,'search','2026-01-31T12:00:00+00:00',9.0,NULL,NULL,2,NULL,NULL);
INSERT INTO "trial" VALUES(3,1,3,'search','2026-01-31T12:00:00+00:00',12.5,NULL,NULL,NULL,NULL,'71b68c172c564b6ba558bfd72bc0bcfe');
INSERT INTO "trial" VALUES(4,2,2,'race','2026-01-31T12:00:00+00:00',9.0,'r',1,2,NULL,'486fc43452f9464bac4f48584b3dbc83');
INSERT INTO "trial" VALUES(5,2,1,'race','2026-01-31T12:00:00+00:00',9.0,'r',1,2,NULL,'a8802a150508412aaee4b1998160da38');
INSERT INTO "trial" VALUES(6,2,2,'race','2026-01-31T12:00:00+00:00',9.0,'r',2,2,NULL,'603cc362bce64f7185c7eb2d0450bab3');
INSERT INTO "trial" VALUES(7,2,1,'race','2026-01-31T12:00:00+00:00',9.0,'r',2,2,NULL,'b9fc850dad3d4407ad767c26b4666ed0');
CREATE TABLE work (
    trial_number INTEGER NOT NULL,
    metric TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_work PRIMARY KEY (trial_number, metric),
    CONSTRAINT fk_work_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE workload (
    id INTEGER CONSTRAINT pk_workload PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    model TEXT NOT NULL,
    facts TEXT NOT NULL,
    CONSTRAINT uq_workload_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "workload" VALUES(1,'b2:0315c061508293b481464c40a1b1224f','sd-legacy/stable-diffusion-v1-5','{"batch_size":2,"guidance_scale":7.5,"height_px":512,"model_fingerprint":"b2:0f","num_frames":null,"prompts":["a photograph of an astronaut riding a horse"],"seed":0,"steps":30,"throughput":false,"width_px":512}');
CREATE INDEX ix_workload_model ON workload (model);
CREATE INDEX ix_study_machine_id ON study (machine_id);
CREATE INDEX ix_study_software_id ON study (software_id);
CREATE INDEX ix_study_workload_id ON study (workload_id);
CREATE INDEX ix_trial_study_id ON trial (study_id);
CREATE INDEX ix_trial_config_id ON trial (config_id);
CREATE UNIQUE INDEX ix_trial_token ON trial (token);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('workload',1);
INSERT INTO "sqlite_sequence" VALUES('machine',1);
INSERT INTO "sqlite_sequence" VALUES('software',1);
INSERT INTO "sqlite_sequence" VALUES('study',2);
INSERT INTO "sqlite_sequence" VALUES('config',3);
INSERT INTO "sqlite_sequence" VALUES('trial',7);
COMMIT;
