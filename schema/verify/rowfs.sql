-- Verify rowfs:rowfs on pg

BEGIN;

SELECT op, at FROM rowfs.applied WHERE false;
SELECT has_function_privilege('rowfs.forget_applied(interval)', 'execute');

ROLLBACK;
