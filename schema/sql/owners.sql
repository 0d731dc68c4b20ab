-- What is wrong with the schema rowfs: a sentence, or no row. $1: array of the oids of the relations that the layout names.
--
-- What stands in that schema runs as the mount's role, or is believed by it. So the schema must belong to a role that can have that anyway: a
-- superuser, the database's owner, an owner of what the layout serves (his triggers run as the mount's role), or the mount's own role, or one that
-- it is a member of. And all that is in it must belong to the same role; the trigger functions are judged by rowfs.has_triggers().
-- Nor may a function, a default or a check be bound to something of another role, as a deploy under his search path could: see
-- schema/deploy/rowfs_bound.sql.
-- Operators are said with their schema, since the types of these columns are not always the same.
WITH s AS (
    SELECT n.oid, n.nspowner AS owner, n.nspacl AS acl, d.datdba AS dba
      FROM pg_catalog.pg_namespace n, pg_catalog.pg_database d
     WHERE n.nspname OPERATOR(pg_catalog.=) 'rowfs' AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
       AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
), trusted AS (
    SELECT r.oid FROM pg_catalog.pg_roles r, s WHERE r.rolsuper OR pg_catalog.pg_has_role(r.oid, s.owner, 'MEMBER')
), things AS (
    SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text AS name, 'FUNCTION' AS kind, p.proowner AS owner
      FROM pg_catalog.pg_proc p, s WHERE p.pronamespace OPERATOR(pg_catalog.=) s.oid
       AND NOT (p.proname OPERATOR(pg_catalog.~) '^(watch|notice)_[0-9]+$' AND p.pronargs OPERATOR(pg_catalog.=) 0)
    UNION ALL
    SELECT c.oid::pg_catalog.regclass::pg_catalog.text,
           CASE c.relkind WHEN 'c' THEN 'TYPE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                          WHEN 'i' THEN 'INDEX' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.relowner
      FROM pg_catalog.pg_class c, s WHERE c.relnamespace OPERATOR(pg_catalog.=) s.oid
    UNION ALL
    SELECT t.oid::pg_catalog.regtype::pg_catalog.text, 'TYPE', t.typowner
      FROM pg_catalog.pg_type t, s WHERE t.typnamespace OPERATOR(pg_catalog.=) s.oid AND t.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    UNION ALL
    SELECT o.oid::pg_catalog.regoperator::pg_catalog.text, 'OPERATOR', o.oprowner
      FROM pg_catalog.pg_operator o, s WHERE o.oprnamespace OPERATOR(pg_catalog.=) s.oid
), bound AS (
    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS what,
           pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) AS meant, pg_catalog.pg_get_userbyid(m.owner) AS owner
      FROM s, LATERAL (
               SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.oid FROM pg_catalog.pg_proc p
                WHERE p.pronamespace OPERATOR(pg_catalog.=) s.oid
               UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k
                WHERE k.connamespace OPERATOR(pg_catalog.=) s.oid
               UNION ALL SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid FROM pg_catalog.pg_attrdef f, pg_catalog.pg_class c
                WHERE c.oid OPERATOR(pg_catalog.=) f.adrelid AND c.relnamespace OPERATOR(pg_catalog.=) s.oid) u(class, oid),
           pg_catalog.pg_depend d,
           LATERAL (SELECT o.oprowner, o.oprnamespace FROM pg_catalog.pg_operator o
                     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid AND o.oid OPERATOR(pg_catalog.=) d.refobjid
                    UNION ALL SELECT p.proowner, p.pronamespace FROM pg_catalog.pg_proc p
                     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) d.refobjid
                    UNION ALL SELECT y.typowner, y.typnamespace FROM pg_catalog.pg_type y
                     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid AND y.oid OPERATOR(pg_catalog.=) d.refobjid
                    UNION ALL SELECT c.relowner, c.relnamespace FROM pg_catalog.pg_class c
                     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AND c.oid OPERATOR(pg_catalog.=) d.refobjid) m(owner, nsp)
     WHERE d.classid OPERATOR(pg_catalog.=) u.class AND d.objid OPERATOR(pg_catalog.=) u.oid AND m.nsp OPERATOR(pg_catalog.<>) s.oid AND NOT EXISTS (SELECT FROM trusted r WHERE r.oid OPERATOR(pg_catalog.=) m.owner)
)
SELECT pg_catalog.format('the schema rowfs belongs to %I, who is neither a superuser nor the owner of this database or of a table of the layout: '
           'ALTER SCHEMA rowfs OWNER TO one of them, or DROP SCHEMA rowfs', pg_catalog.pg_get_userbyid(s.owner))
  FROM s
 WHERE NOT pg_catalog.pg_has_role(s.owner, 'MEMBER') AND NOT pg_catalog.pg_has_role(s.dba, s.owner, 'MEMBER')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) s.owner AND r.rolsuper)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text::pg_catalog.oid[])
                      AND pg_catalog.pg_has_role(c.relowner, s.owner, 'MEMBER'))
UNION ALL
SELECT pg_catalog.format('%s in the schema rowfs belongs to %I, who does not own the schema: DROP %s %1$s, or ALTER %3$s %1$s OWNER TO %4$I',
           t.name, pg_catalog.pg_get_userbyid(t.owner), t.kind, pg_catalog.pg_get_userbyid(s.owner))
  FROM things t, s WHERE NOT EXISTS (SELECT FROM trusted r WHERE r.oid OPERATOR(pg_catalog.=) t.owner)
UNION ALL
SELECT pg_catalog.format('%s may create what he likes in the schema rowfs, which he does not own: REVOKE CREATE ON SCHEMA rowfs FROM %1$s',
           CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text) END)
  FROM s, pg_catalog.aclexplode(s.acl) a
 WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND NOT EXISTS (SELECT FROM trusted r WHERE r.oid OPERATOR(pg_catalog.=) a.grantee)
UNION ALL
SELECT pg_catalog.format('%s in the schema rowfs uses %s, which belongs to %I, who does not own the schema: deploy the schema anew '
           '(enable_migrations, or sqitch), or, if its last change is there, SELECT rowfs.rebind()', b.what, b.meant, b.owner) FROM bound b
LIMIT 1
