-- A store as the first version writes it: never to be changed.
BEGIN TRANSACTION;
CREATE TABLE autotune_migration (
	name TEXT NOT NULL, 
	applied_at TEXT NOT NULL, 
	CONSTRAINT pk_autotune_migration PRIMARY KEY (name)
);
INSERT INTO "autotune_migration" VALUES('m001_initial','2026-11-23T09:01:19+00:00');
CREATE TABLE config (
    id INTEGER CONSTRAINT pk_config PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    choices TEXT NOT NULL,
    CONSTRAINT uq_config_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "config" VALUES(1,'b2:2afb9b83f9314e5d029766197f539792','{}');
INSERT INTO "config" VALUES(2,'b2:49be2af8508f6243ce164cb61aa61617','{"dtype":"bfloat16"}');
INSERT INTO "config" VALUES(3,'b2:7445a3f2047bdf9a4625ca44e5e9fabc','{"compile":"default"}');
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
INSERT INTO "failure" VALUES(3,'crash','compile','the process died: 💥','log
end',7516192768);
CREATE TABLE fidelity (
    trial_number INTEGER NOT NULL,
    metric TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_fidelity PRIMARY KEY (trial_number, metric),
    CONSTRAINT fk_fidelity_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
INSERT INTO "fidelity" VALUES(2,'psnr_db',41.7);
CREATE TABLE machine (
    id INTEGER CONSTRAINT pk_machine PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    device TEXT NOT NULL,
    device_name TEXT NOT NULL,
    facts TEXT NOT NULL,
    CONSTRAINT uq_machine_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "machine" VALUES(1,'b2:381455d8739bc333d29dae6ddcff420f','cuda:0','NVIDIA H200','{"cores":16,"device":"cuda:0","device_bytes":151397597184,"device_name":"NVIDIA H200","host_bytes":137438953472,"native_dtypes":["float32","bfloat16"],"system":"Linux"}');
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
INSERT INTO "memory" VALUES(1,0,'host','load','rss',3221225472);
INSERT INTO "memory" VALUES(1,1,'device','denoise','allocator',1099511627777);
INSERT INTO "memory" VALUES(1,2,'device','decode','allocator',5368709120);
INSERT INTO "memory" VALUES(2,0,'host','load','rss',3221225472);
INSERT INTO "memory" VALUES(2,1,'device','denoise','allocator',1099511627777);
INSERT INTO "memory" VALUES(2,2,'device','decode','allocator',5368709120);
CREATE TABLE sample (
    trial_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_sample PRIMARY KEY (trial_number, kind, position),
    CONSTRAINT fk_sample_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
INSERT INTO "sample" VALUES(1,'load',0,3.33333333333333314829e-01);
INSERT INTO "sample" VALUES(1,'first_call',0,80.1);
INSERT INTO "sample" VALUES(1,'steady',0,4.73);
INSERT INTO "sample" VALUES(1,'steady',1,3.00000000000000044408e-01);
INSERT INTO "sample" VALUES(1,'steady',2,4.7);
INSERT INTO "sample" VALUES(2,'load',0,3.33333333333333314829e-01);
INSERT INTO "sample" VALUES(2,'first_call',0,80.1);
INSERT INTO "sample" VALUES(2,'steady',0,4.73);
INSERT INTO "sample" VALUES(2,'steady',1,3.00000000000000044408e-01);
INSERT INTO "sample" VALUES(2,'steady',2,4.7);
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
    created_at TEXT NOT NULL,
    CONSTRAINT uq_study_fingerprint UNIQUE (fingerprint),
    CONSTRAINT fk_study_machine_id FOREIGN KEY (machine_id) REFERENCES machine (id),
    CONSTRAINT fk_study_software_id FOREIGN KEY (software_id) REFERENCES software (id),
    CONSTRAINT fk_study_workload_id FOREIGN KEY (workload_id) REFERENCES workload (id)
);
INSERT INTO "study" VALUES(1,'b2:8ef188e76f818a13f4695c9c580db175',1,1,1,8589934592,'{"compile":["off","default"],"dtype":["float32","bfloat16"]}','2026-11-23T09:01:19+00:00');
CREATE TABLE trial (
    number INTEGER CONSTRAINT pk_trial PRIMARY KEY AUTOINCREMENT,
    study_id INTEGER NOT NULL,
    config_id INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    started_at TEXT NOT NULL,
    cost_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT fk_trial_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT fk_trial_config_id FOREIGN KEY (config_id) REFERENCES config (id)
);
INSERT INTO "trial" VALUES(1,1,1,'baseline','2026-01-31T12:00:00+00:00',91.25);
INSERT INTO "trial" VALUES(2,1,2,'search','2026-01-31T12:00:00+00:00',91.25);
INSERT INTO "trial" VALUES(3,1,3,'search','2026-01-31T12:05:00+00:00',12.5);
CREATE TABLE workload (
    id INTEGER CONSTRAINT pk_workload PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    model TEXT NOT NULL,
    facts TEXT NOT NULL,
    CONSTRAINT uq_workload_fingerprint UNIQUE (fingerprint)
);
INSERT INTO "workload" VALUES(1,'b2:0315c061508293b481464c40a1b1224f','sd-legacy/stable-diffusion-v1-5','{"batch_size":2,"guidance_scale":7.5,"height_px":512,"model_fingerprint":"b2:0f","num_frames":null,"prompts":["a photograph of an astronaut riding a horse"],"seed":0,"steps":30,"width_px":512}');
CREATE INDEX ix_workload_model ON workload (model);
CREATE INDEX ix_study_machine_id ON study (machine_id);
CREATE INDEX ix_study_software_id ON study (software_id);
CREATE INDEX ix_study_workload_id ON study (workload_id);
CREATE INDEX ix_trial_study_id ON trial (study_id);
CREATE INDEX ix_trial_config_id ON trial (config_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('workload',1);
INSERT INTO "sqlite_sequence" VALUES('machine',1);
INSERT INTO "sqlite_sequence" VALUES('software',1);
INSERT INTO "sqlite_sequence" VALUES('study',1);
INSERT INTO "sqlite_sequence" VALUES('config',3);
INSERT INTO "sqlite_sequence" VALUES('trial',3);
COMMIT;
