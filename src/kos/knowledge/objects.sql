-- Queries about objects in object storage. Documents are asked for as the operator, who has entered the tenant and sees
-- all of them: a policy of the product may hide some from applications, and they refer nevertheless. The operator sees
-- other tenants' too, so each query names the tenant.

-- name: share_object
-- Held until the transaction ends: the collector leaves this object alone.
select pg_advisory_xact_lock_shared(kos.object_key(%(tenant)s, %(sha256)s));

-- name: try_object
-- The collector's side. False where somebody is about to refer to the object.
select pg_try_advisory_xact_lock(kos.object_key(%(tenant)s, %(sha256)s));

-- name: unreferenced
-- Those of the named objects that no document refers to, deleted documents included.
select named.sha256
  from unnest(%(sha256s)s::text[]) as named (sha256)
 where not exists (
   select from {documents} d
    where d.tenant_id = (select kos.current_tenant_id()) and d.content_sha256 = named.sha256
 );

-- name: references
-- What documents refer to, deleted ones included.
select content_sha256, byte_length, id
  from {documents}
 where tenant_id = (select kos.current_tenant_id())
 order by content_sha256, id;

-- name: still_refers
-- Does the document still refer to that object?
select exists (
  select from {documents}
   where tenant_id = (select kos.current_tenant_id()) and id = %(id)s and content_sha256 = %(sha256)s
);

-- name: share_holds
-- Held while objects are deleted: a hold that is being made waits for that.
select pg_advisory_xact_lock_shared(kos.holds_key());

-- name: still_there
-- Answered only while the transaction lasts, and with it its locks.
select;

-- name: take_holds
-- Waits for deletions that are under way and do not know of the hold that follows.
select pg_advisory_xact_lock(kos.holds_key());

-- name: hold
-- Nothing of this tenant (null: of any tenant) is collected.
insert into kos.object_holds (tenant_id, reason, created_by, until)
values (%(tenant)s, %(reason)s, %(created_by)s, %(until)s)
returning hold_id;

-- name: hold_as
-- The hold of an operation, whose plan has its id. Repeatable.
insert into kos.object_holds (hold_id, tenant_id, reason, created_by) values (%(hold)s, %(tenant)s, %(reason)s, 'kos')
on conflict (hold_id) do nothing;

-- name: release
-- End a hold.
delete from kos.object_holds where hold_id = %(hold)s;

-- name: is_held
-- Is a hold in force for this tenant?
select exists (
  select from kos.object_holds
   where (tenant_id is null or tenant_id = %(tenant)s) and (until is null or until > clock_timestamp())
);

-- name: is_held_by_others
-- Is another hold than this one in force for this tenant?
select exists (
  select from kos.object_holds
   where hold_id <> %(hold)s and (tenant_id is null or tenant_id = %(tenant)s)
     and (until is null or until > clock_timestamp())
);

-- name: list_holds
-- Holds in force, oldest first.
select h.hold_id, t.name, h.reason, h.created_by, h.until, h.created_at
  from kos.object_holds h
  left join kos.tenants t using (tenant_id)
 where h.until is null or h.until > clock_timestamp()
 order by h.created_at, h.hold_id;

-- name: reason_of_hold
-- Why the tenant is held; the oldest hold that is in force.
select reason
  from kos.object_holds
 where (tenant_id is null or tenant_id = %(tenant)s) and (until is null or until > clock_timestamp())
 order by created_at
 limit 1;
