-- A product that was not built with kos, small: made and written by the tour's step about adoption.

-- name: role_exists
-- Is there such a role?
select exists (select from pg_roles where rolname = %(role)s);

-- name: make_role
-- The product's role, which logs in nowhere.
create role shop;

-- name: act_for_shop
-- Let the administrator act as the product.
grant shop to current_user;

-- name: make_schema
-- Where the product's tables are; its own.
create schema if not exists shop authorization shop;

-- name: act_as_shop
-- As the product does from here on.
set role shop;

-- name: make_orders
-- The product's table: a key of its own, and the account that an order belongs to.
create table if not exists shop.orders (
  id bigint generated always as identity primary key,
  account_id bigint not null,
  product text not null,
  quantity integer not null default 1,
  ordered_at timestamptz not null default now()
);

-- name: order
-- One order of an account.
insert into shop.orders (account_id, product) values (%(account)s, %(product)s);

-- name: order_more
-- A change of the account's newest order.
update shop.orders set quantity = quantity + 1
 where id = (select max(id) from shop.orders where account_id = %(account)s);

-- name: orders_of
-- An account's rows as the log writes values.
select id::text, account_id::text, product, quantity::text, (ordered_at at time zone 'UTC')::text || '+00'
  from shop.orders where account_id = %(account)s;

-- name: tenant_of
-- The id under which the log keeps an account.
select kos.tenant_of(%(value)s);
