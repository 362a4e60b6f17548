-- Run by CREATE EXTENSION concord.
\echo Use "CREATE EXTENSION concord" to load this file. \quit

-- A member of the extension, so that DROP EXTENSION takes it along.
CREATE SCHEMA concord;
GRANT USAGE ON SCHEMA concord TO PUBLIC;

CREATE FUNCTION concord.require_preload() RETURNS void
  AS 'MODULE_PATHNAME', 'concord_require_preload' LANGUAGE C;
SELECT concord.require_preload();
DROP FUNCTION concord.require_preload();

-- Access methods share one namespace, hence two names.

CREATE FUNCTION concord.tableam_handler(internal) RETURNS table_am_handler
  AS 'MODULE_PATHNAME', 'concord_tableam_handler' LANGUAGE C STRICT;
CREATE ACCESS METHOD concord TYPE TABLE HANDLER concord.tableam_handler;
COMMENT ON ACCESS METHOD concord IS 'Concord table access method';

CREATE FUNCTION concord.indexam_handler(internal) RETURNS index_am_handler
  AS 'MODULE_PATHNAME', 'concord_indexam_handler' LANGUAGE C STRICT;
CREATE ACCESS METHOD concord_btree TYPE INDEX HANDLER concord.indexam_handler;
COMMENT ON ACCESS METHOD concord_btree IS 'Concord index access method';

-- Copies of btree's operator classes. Indexes on Concord tables keep btree's own, which the planner and the executor know
-- by OID; the copies are what names like "USING concord_btree (c text_pattern_ops)", as pg_get_indexdef and pg_dump print
-- them, are resolved to first. So they have btree's names and stand in btree's schema.
DO $$
DECLARE
  family record;
  class record;
  members text;
BEGIN
  FOR family IN
    SELECT f.oid, f.opfname
      FROM pg_opfamily f JOIN pg_am a ON a.oid = f.opfmethod
     WHERE a.amname = 'btree' AND f.opfnamespace = 'pg_catalog'::regnamespace
     ORDER BY f.oid
  LOOP
    EXECUTE format('CREATE OPERATOR FAMILY pg_catalog.%I USING concord_btree', family.opfname);

    FOR class IN
      SELECT opcname, opcdefault, format_type(opcintype, NULL) AS type
        FROM pg_opclass WHERE opcfamily = family.oid ORDER BY oid
    LOOP
      EXECUTE format('CREATE OPERATOR CLASS pg_catalog.%I %s FOR TYPE %s USING concord_btree FAMILY pg_catalog.%I '
                     'AS STORAGE %s', class.opcname, CASE WHEN class.opcdefault THEN 'DEFAULT' ELSE '' END,
                     class.type, family.opfname, class.type);
    END LOOP;

    SELECT string_agg(member, ', ') INTO members FROM (
      SELECT format('OPERATOR %s %I.%s (%s, %s)', amopstrategy, o.oprnamespace::regnamespace::name, o.oprname,
                    format_type(amoplefttype, NULL), format_type(amoprighttype, NULL)) AS member
        FROM pg_amop JOIN pg_operator o ON o.oid = amopopr
       WHERE amopfamily = family.oid AND amoppurpose = 's'
      UNION ALL
      SELECT format('FUNCTION %s (%s, %s) %s', amprocnum, format_type(amproclefttype, NULL),
                    format_type(amprocrighttype, NULL), amproc::oid::regprocedure)
        FROM pg_amproc WHERE amprocfamily = family.oid) AS m;
    EXECUTE format('ALTER OPERATOR FAMILY pg_catalog.%I USING concord_btree ADD %s', family.opfname, members);
  END LOOP;
END
$$;

CREATE FUNCTION concord.current_lsn() RETURNS pg_lsn
  AS 'MODULE_PATHNAME', 'concord_current_lsn' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION concord.current_lsn() IS 'newest committed LSN, confirmed by the adjudicator';

CREATE FUNCTION concord.relation_size(regclass) RETURNS bigint
  AS 'MODULE_PATHNAME', 'concord_relation_bytes' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION concord.relation_size(regclass) IS
  'bytes that the current rows of a Concord table, or entries of an index, take in storage: keys and values, without old '
  'versions and free space';

-- Postgres' own look at files only. Their support function makes the planner call these instead.
CREATE FUNCTION concord.pg_relation_size(regclass, text) RETURNS bigint
  AS 'MODULE_PATHNAME', 'concord_pg_relation_size' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
CREATE FUNCTION concord.pg_table_size(regclass) RETURNS bigint
  AS 'MODULE_PATHNAME', 'concord_pg_table_size' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
CREATE FUNCTION concord.pg_indexes_size(regclass) RETURNS bigint
  AS 'MODULE_PATHNAME', 'concord_pg_indexes_size' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
CREATE FUNCTION concord.pg_total_relation_size(regclass) RETURNS bigint
  AS 'MODULE_PATHNAME', 'concord_pg_total_relation_size' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;

-- Postgres' own would say USING concord_btree, which only a server with Concord tables takes.
CREATE FUNCTION concord.pg_get_indexdef(oid) RETURNS text
  AS 'MODULE_PATHNAME', 'concord_pg_get_indexdef' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION concord.pg_get_indexdef(oid, int, bool) RETURNS text
  AS 'MODULE_PATHNAME', 'concord_pg_get_indexdef_ext' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION concord.pg_get_constraintdef(oid) RETURNS text
  AS 'MODULE_PATHNAME', 'concord_pg_get_constraintdef' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION concord.pg_get_constraintdef(oid, bool) RETURNS text
  AS 'MODULE_PATHNAME', 'concord_pg_get_constraintdef_ext' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION concord.call_support(internal) RETURNS internal
  AS 'MODULE_PATHNAME', 'concord_call_support' LANGUAGE C STRICT;
ALTER FUNCTION pg_catalog.pg_relation_size(regclass, text) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_table_size(regclass) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_indexes_size(regclass) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_total_relation_size(regclass) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_get_indexdef(oid) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_get_indexdef(oid, int, bool) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_get_constraintdef(oid) SUPPORT concord.call_support;
ALTER FUNCTION pg_catalog.pg_get_constraintdef(oid, bool) SUPPORT concord.call_support;
-- DROP EXTENSION gives them back; without the library it cannot, and this says so.
CREATE FUNCTION concord.before_drop_extension() RETURNS event_trigger
  AS 'MODULE_PATHNAME', 'concord_before_drop_extension' LANGUAGE C;
CREATE EVENT TRIGGER concord_before_drop ON ddl_command_start WHEN TAG IN ('DROP EXTENSION')
  EXECUTE FUNCTION concord.before_drop_extension();

CREATE FUNCTION concord.check(relation regclass, OUT index regclass, OUT tid tid, OUT problem text) RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_check_relation' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE EXECUTE ON FUNCTION concord.check(regclass) FROM PUBLIC;
COMMENT ON FUNCTION concord.check(regclass) IS
  'compares a Concord index, or all valid ones of a table, with the table''s rows; a line for each place where they differ';

CREATE FUNCTION concord.status(
    OUT sidecar text,
    OUT epoch bigint,
    OUT committed_lsn pg_lsn,
    OUT applied_lsn pg_lsn,
    OUT checkpoint_lsn pg_lsn,
    OUT horizon_lsn pg_lsn,
    OUT journal_bytes bigint,
    OUT storage_bytes bigint,
    OUT storages bigint,
    OUT dropping bigint,
    OUT commits bigint,
    OUT conflicts bigint)
  AS 'MODULE_PATHNAME', 'concord_status' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION concord.status() IS 'state of the sidecar, and commits of this server since it started';

CREATE VIEW concord.status AS SELECT * FROM concord.status();
GRANT SELECT ON concord.status TO PUBLIC;

-- Storage of this server that no table or index of any database uses: what crashes leave behind.
CREATE FUNCTION concord.orphans(OUT storage_id bigint, OUT rows bigint, OUT bytes bigint) RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_orphans' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION concord.orphans() IS 'storage that no table or index uses, found anew at each call';
REVOKE ALL ON FUNCTION concord.orphans() FROM PUBLIC;
CREATE VIEW concord.orphans AS SELECT * FROM concord.orphans();

CREATE FUNCTION concord.sweep() RETURNS bigint
  AS 'MODULE_PATHNAME', 'concord_sweep' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION concord.sweep() IS 'removes storage that no table or index uses; returns how much there was';
REVOKE ALL ON FUNCTION concord.sweep() FROM PUBLIC;

CREATE FUNCTION concord.readers(OUT pid integer, OUT read_lsn pg_lsn, OUT age interval, OUT view_age interval)
  RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_readers' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION concord.readers() IS 'sessions for which old row versions, or pages of the storage replica, are kept';
CREATE VIEW concord.readers AS SELECT * FROM concord.readers();
GRANT SELECT ON concord.readers TO PUBLIC;

-- ---- Statistics ----

CREATE FUNCTION concord.stat_commits(
    OUT commits bigint, OUT read_only bigint, OUT conflicts bigint, OUT too_old bigint, OUT refused bigint, OUT unknown bigint,
    OUT chunks bigint, OUT retries bigint, OUT messages bigint, OUT bytes bigint, OUT resent bigint, OUT reconnects bigint,
    OUT connected boolean, OUT wait_us_total bigint, OUT wait_us_avg bigint, OUT wait_us_max bigint,
    OUT stats_reset timestamptz)
  AS 'MODULE_PATHNAME', 'concord_stat_commits' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_commits AS SELECT * FROM concord.stat_commits();
COMMENT ON VIEW concord.stat_commits IS 'commits of this server';

CREATE FUNCTION concord.stat_commit_waits(OUT from_us bigint, OUT below_us bigint, OUT commits bigint) RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_stat_commit_waits' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_commit_waits AS SELECT * FROM concord.stat_commit_waits();
COMMENT ON VIEW concord.stat_commit_waits IS 'how long commits of this server waited for their verdict: a histogram';

CREATE FUNCTION concord.stat_conflicts(
    OUT datname name, OUT relation regclass, OUT index regclass, OUT kind text, OUT conflicts bigint,
    OUT last_conflict timestamptz) RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_stat_conflicts' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_conflicts AS SELECT * FROM concord.stat_conflicts();
COMMENT ON VIEW concord.stat_conflicts IS 'which tables made transactions of this server fail with 40001, and how often';

CREATE FUNCTION concord.stat_reset() RETURNS void
  AS 'MODULE_PATHNAME', 'concord_stat_reset' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION concord.stat_reset() IS 'sets concord.stat_commits, stat_commit_waits and stat_conflicts back to zero';
REVOKE ALL ON FUNCTION concord.stat_reset() FROM PUBLIC;

CREATE FUNCTION concord.stat_storage(
    OUT relation regclass, OUT storage_id bigint, OUT kind text, OUT rows bigint, OUT bytes bigint) RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_stat_storage' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_storage AS SELECT * FROM concord.stat_storage();
COMMENT ON VIEW concord.stat_storage IS 'each storage in use: rows or entries, and bytes';

CREATE FUNCTION concord.stat_replicas(
    OUT name text, OUT is_local boolean, OUT address text, OUT path text, OUT applied_lsn pg_lsn, OUT lag_ms bigint,
    OUT checkpoint_lsn pg_lsn, OUT checkpoint_lag_ms bigint, OUT horizon_lsn pg_lsn, OUT horizon_lag_ms bigint,
    OUT used_bytes bigint, OUT free_bytes bigint, OUT file_bytes bigint, OUT file_bytes_max bigint, OUT versions bigint,
    OUT dead_versions bigint, OUT readers bigint, OUT readers_max bigint, OUT lease_checkpoint_lsn pg_lsn, OUT lease_left_ms bigint)
  RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_stat_replicas' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_replicas AS SELECT * FROM concord.stat_replicas();
COMMENT ON VIEW concord.stat_replicas IS 'each storage replica: how far it is, how large, who reads, and its lease on the journal';

CREATE FUNCTION concord.replicas(
    OUT address text, OUT name text, OUT is_local boolean, OUT state text, OUT applied_lsn pg_lsn, OUT horizon_lsn pg_lsn,
    OUT latency_us bigint, OUT heard_ms_ago bigint, OUT trouble text)
  RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_replicas' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.replicas AS SELECT * FROM concord.replicas();
COMMENT ON VIEW concord.replicas IS 'each storage replica as this server''s gateway knows it, which routes reads by that';

CREATE FUNCTION concord.stat_reads(OUT reads bigint, OUT bytes bigint, OUT hedged bigint, OUT moved bigint)
  RETURNS record
  AS 'MODULE_PATHNAME', 'concord_stat_reads' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_reads AS SELECT * FROM concord.stat_reads();
COMMENT ON VIEW concord.stat_reads IS 'reads of this server that went through the gateway to a storage replica';

CREATE FUNCTION concord.stat_waits(OUT pid integer, OUT wait text, OUT since timestamptz, OUT blocked_by integer)
  RETURNS SETOF record
  AS 'MODULE_PATHNAME', 'concord_stat_waits' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW concord.stat_activity AS
  SELECT w.pid, a.datname, a.usename, a.application_name, w.wait, w.since, w.blocked_by
    FROM concord.stat_waits() w LEFT JOIN pg_stat_activity a ON a.pid = w.pid;
COMMENT ON VIEW concord.stat_activity IS 'processes that wait for Concord now, and for what';

GRANT SELECT ON concord.stat_commits, concord.stat_commit_waits, concord.stat_conflicts, concord.stat_storage,
  concord.stat_replicas, concord.replicas, concord.stat_reads, concord.stat_activity TO PUBLIC;
