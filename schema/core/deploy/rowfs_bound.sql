-- Deploy rowfs_core:rowfs_bound to pg
-- requires: rowfs_channel
--
-- The body of a function in SQL, a default and a CHECK are bound when they are made. The scripts of this schema did that
-- under the search path of whoever deployed them, and so could bind operators and functions of another role that fit
-- better than PostgreSQL's own. The scripts name their search path now; what was made before is judged here.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- What of the schema rowfs is bound to something of another schema (pg_catalog left out) that belongs to a role without
-- the rights of the owner of the schema rowfs. WHAT and MEANT are for people. In the text of WHAT, as it is shown with
-- only pg_catalog on the search path, THERE is to be HERE.
CREATE FUNCTION rowfs.bound_elsewhere()
RETURNS TABLE (class oid, id oid, what text, meant text, there text, here text) LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH own AS (
		SELECT n.oid, n.nspowner FROM pg_namespace n WHERE n.nspname = 'rowfs'
	), things AS (
		SELECT 'pg_proc'::regclass::oid AS class, p.oid FROM pg_proc p, own WHERE p.pronamespace = own.oid
		UNION ALL SELECT 'pg_class'::regclass, c.oid FROM pg_class c, own WHERE c.relnamespace = own.oid
		UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t, own WHERE t.typnamespace = own.oid
		UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k, own WHERE k.connamespace = own.oid
		UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid, own
		 WHERE c.relnamespace = own.oid
		UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class, own
		 WHERE c.relnamespace = own.oid
	), meant AS (
		SELECT DISTINCT t.class, t.oid, d.refclassid, d.refobjid,
		       coalesce(o.oprnamespace, p.pronamespace, c.relnamespace, y.typnamespace, l.collnamespace, x.opcnamespace) AS nsp,
		       coalesce(o.oprowner, p.proowner, c.relowner, y.typowner, l.collowner, x.opcowner) AS owner,
		       coalesce(o.oprname, p.proname, c.relname, y.typname, l.collname, x.opcname) AS name
		  FROM things t JOIN pg_depend d ON d.classid = t.class AND d.objid = t.oid
		  LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
		  LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
		  LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
		  LEFT JOIN pg_type y ON d.refclassid = 'pg_type'::regclass AND y.oid = d.refobjid
		  LEFT JOIN pg_collation l ON d.refclassid = 'pg_collation'::regclass AND l.oid = d.refobjid
		  LEFT JOIN pg_opclass x ON d.refclassid = 'pg_opclass'::regclass AND x.oid = d.refobjid
	)
	SELECT m.class, m.oid, pg_describe_object(m.class, m.oid, 0), pg_describe_object(m.refclassid, m.refobjid, 0),
	       CASE m.refclassid
	       WHEN 'pg_operator'::regclass THEN format('OPERATOR(%I.%s)', n.nspname, m.name)
	       WHEN 'pg_proc'::regclass THEN format('%I.%I(', n.nspname, m.name)
	       ELSE format('%I.%I', n.nspname, m.name) END,
	       CASE m.refclassid
	       WHEN 'pg_operator'::regclass THEN format('OPERATOR(pg_catalog.%s)', m.name)
	       WHEN 'pg_proc'::regclass THEN format('pg_catalog.%I(', m.name)
	       ELSE format('pg_catalog.%I', m.name) END
	  FROM meant m JOIN pg_namespace n ON n.oid = m.nsp, own
	 WHERE n.nspname NOT IN ('pg_catalog', 'rowfs')
	   AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = m.owner
	                      AND (r.rolsuper OR pg_has_role(r.oid, own.nspowner, 'MEMBER')));
END;

-- Makes anew what bound_elsewhere() finds, with what pg_catalog has of that name. What cannot be made so is an error. Secrets that
-- functions of another role may have chosen are chosen anew.
CREATE FUNCTION rowfs.rebind() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	again text;
	others_chose boolean := EXISTS (SELECT FROM rowfs.bound_elsewhere() b JOIN pg_attrdef d ON d.oid = b.id
		WHERE b.class = 'pg_attrdef'::regclass AND d.adrelid = 'rowfs.secret'::regclass);
	why text := 'such a thing is not made anew by itself';
BEGIN
	FOR t IN SELECT b.class, b.id, array_agg(b.there ORDER BY b.there) AS there, array_agg(b.here ORDER BY b.there) AS here
	           FROM rowfs.bound_elsewhere() b GROUP BY 1, 2 LOOP
		again := CASE t.class
			WHEN 'pg_proc'::regclass THEN pg_get_functiondef(t.id)
			WHEN 'pg_attrdef'::regclass THEN (
				SELECT format('ALTER TABLE %s ALTER %I SET DEFAULT %s', d.adrelid::regclass, a.attname,
				              pg_get_expr(d.adbin, d.adrelid))
				  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
				 WHERE d.oid = t.id AND a.attgenerated = '')
			WHEN 'pg_constraint'::regclass THEN (
				SELECT format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %3$s', k.conrelid::regclass,
				              k.conname, pg_get_constraintdef(k.oid))
				  FROM pg_constraint k WHERE k.oid = t.id AND k.contype = 'c')
			END;
		CONTINUE WHEN again IS NULL;
		FOR i IN 1..cardinality(t.there) LOOP
			again := replace(again, t.there[i], t.here[i]);
		END LOOP;
		BEGIN
			EXECUTE again;
		EXCEPTION WHEN OTHERS THEN
			why := SQLERRM;
		END;
	END LOOP;
	FOR t IN SELECT b.what, b.meant FROM rowfs.bound_elsewhere() b ORDER BY 1, 2 LIMIT 1 LOOP
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('%s uses %s of another role, and could not be bound to PostgreSQL''s own: %s', t.what, t.meant, why),
			HINT = 'SET search_path = pg_catalog, make it anew as the script in schema/core/deploy says, and deploy again.';
	END LOOP;
	IF others_chose THEN
		-- triggers know a hash of the proof: the next mount of the schema's owner, or rowfs check, makes them anew
		IF rowfs.is_mounted() THEN
			RAISE object_in_use USING MESSAGE = 'this database is mounted: unmount it first, and mount it again after the upgrade';
		END IF;
		PERFORM rowfs.drop_triggers(NULL);
		UPDATE rowfs.secret SET proof = DEFAULT, channel = DEFAULT;
	END IF;
END
$$;

SELECT rowfs.rebind();

COMMIT;
