create table event(id integer primary key, port int, name text, at real);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into event select i, (i * 7919) % 1021, 'event ' || ((i * 104729) % 9973), i * 0.25 from n;
commit;
create index by_port on event(port);
create index by_name on event(name);
select port, count(*), sum(at) from event group by port order by 2 desc, 1 limit 10;
select count(*) from event a join event b on a.name = b.name and a.id < b.id where a.port < 200;
update event set at = at * 2 where port % 3 = 0;
delete from event where id % 5 = 0;
select count(*), round(avg(at), 3), max(name) from event;
pragma integrity_check;
