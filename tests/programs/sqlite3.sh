#!/bin/bash
# SPDX-License-Identifier: MIT
# 400,000 rows in memory: index, join, delete, integrity check.
# packages: sqlite3
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need sqlite3

loaded_stdin sqlite3 :memory:
cat >work.sql <<'SQL'
create table t(id integer primary key, k integer, s text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 400000)
insert into t select i, i * 7919 % 400009, hex(i * 7919 % 400009) || printf('%0*d', i % 40, i) from n;
create index tk on t(k);
create index ts on t(s);
select count(*), sum(k), max(s), min(s) from t;
select count(*) from t a join t b on a.k = b.id where a.id % 10 = 0;
delete from t where id % 3 = 0;
select count(*), sum(id), sum(length(s)) from t;
select k % 10, count(*), group_concat(id) from (select * from t order by s limit 200) group by 1;
reindex;
pragma integrity_check;
SQL
sqlite3 :memory: <work.sql >want
under sqlite3 :memory: <work.sql >got
same got want
equal "$(tail -n 1 got)" ok "integrity check"
equal "$(sed -n 3p got | cut -d'|' -f1,2)" "266667|53333466667" "rows left"
