//! Nodes of accounts and their items (XEP-0060).

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::pubsub::{Affiliation, Bounds, Item, Kept, Node, Page, PubSub, Wanted};
use tandem_xmpp::ports::{BoxFuture, StoreError};

use super::{Store, fault, run};

/// What an item's row is read from.
const ITEM: &str = "item, publisher, stamp, payload";

impl PubSub for Store {
    fn nodes<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<Node>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT pubsub_nodes.name, config, affiliations, subscriptions, pending FROM pubsub_nodes \
                 JOIN accounts ON accounts.id = owner \
                 WHERE domain = $1 AND accounts.name = $2 ORDER BY pubsub_nodes.name",
            )
            .bind(owner.domain())
            .bind(owner.node())
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            rows.iter().map(|row| read_node(row).map_err(|e| fault(&e))).collect()
        })
    }

    fn put_node<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, node) = (owner.bare(), node.clone());
        Box::pin(
            self.write(move |c| {
                Box::pin(async move { put_node(c, &owner, &node).await.map(|_| ()) })
            }),
        )
    }

    fn remove_node<'a>(
        &'a self,
        owner: &'a Jid,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, name) = (owner.bare(), name.to_owned());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM pubsub_nodes WHERE name = $3 AND owner = \
                     (SELECT id FROM accounts WHERE domain = $1 AND name = $2)",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .bind(name)
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }

    fn publish<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
        items: &'a [Item],
        bounds: Bounds,
    ) -> BoxFuture<'a, Result<Kept, StoreError>> {
        let (owner, node, items) = (owner.bare(), node.clone(), items.to_vec());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                run(c, "SAVEPOINT part").await?;
                let kept = publish(c, &owner, &node, &items, bounds).await?;
                if matches!(kept, Kept::Full) {
                    run(c, "ROLLBACK TO part").await?;
                }
                run(c, "RELEASE part").await?;
                Ok(kept)
            })
        }))
    }

    fn retract<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a str,
        ids: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        let (owner, node, ids) = (owner.bare(), node.to_owned(), ids.map(<[String]>::to_vec));
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                let Some(node) = node_id(c, &owner, &node).await? else { return Ok(Vec::new()) };
                expire(c, node).await?;
                let mut query =
                    QueryBuilder::<Sqlite>::new("DELETE FROM pubsub_items WHERE node = ");
                query.push_bind(node);
                if let Some(ids) = &ids {
                    among(&mut query, ids);
                }
                let rows = query.push(" RETURNING item").build().fetch_all(&mut *c).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            })
        }))
    }

    fn items<'a>(
        &'a self,
        owner: &'a Jid,
        node: &'a Node,
        wanted: &'a Wanted,
    ) -> BoxFuture<'a, Result<Option<Page>, StoreError>> {
        Box::pin(async move { self.page(owner, node, wanted).await.map_err(|e| fault(&e)) })
    }
}

async fn publish(
    c: &mut SqliteConnection,
    owner: &Jid,
    node: &Node,
    items: &[Item],
    bounds: Bounds,
) -> Result<Kept, sqlx::Error> {
    let id = match node_id(c, owner, &node.name).await? {
        Some(id) => id,
        None => put_node(c, owner, node).await?,
    };
    expire(c, id).await?;
    let now = chrono::Utc::now().timestamp();
    for item in items {
        sqlx::query(
            "INSERT OR REPLACE INTO pubsub_items \
             (node, item, publisher, stamp, created, bytes, payload) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(&item.id)
        .bind(&item.publisher)
        .bind(&item.stamp)
        .bind(now)
        .bind(i64::try_from(item.payload.len()).unwrap_or(i64::MAX))
        .bind(item.payload.as_ref())
        .execute(&mut *c)
        .await?;
    }
    let gone = sqlx::query(
        "DELETE FROM pubsub_items WHERE node = $1 AND id NOT IN \
         (SELECT id FROM pubsub_items WHERE node = $1 ORDER BY id DESC LIMIT $2) RETURNING item",
    )
    .bind(id)
    .bind(bounds.items)
    .fetch_all(&mut *c)
    .await?;
    let bytes: i64 = sqlx::query(
        "SELECT coalesce(sum(bytes), 0) FROM pubsub_items WHERE node IN \
         (SELECT id FROM pubsub_nodes WHERE owner = (SELECT owner FROM pubsub_nodes WHERE id = $1))",
    )
    .bind(id)
    .fetch_one(&mut *c)
    .await?
    .try_get(0)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > bounds.bytes) {
        return Ok(Kept::Full);
    }
    Ok(Kept::Yes(gone.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?))
}

/// Adds or replaces a node; an error when there is no such account.
async fn put_node(c: &mut SqliteConnection, owner: &Jid, node: &Node) -> Result<i64, sqlx::Error> {
    let affiliations: Vec<(&str, Affiliation)> =
        node.affiliations.iter().map(|(jid, what)| (jid.as_str(), *what)).collect();
    let names = |jids: &[Jid]| json(&jids.iter().map(Jid::as_str).collect::<Vec<_>>());
    let row = sqlx::query(
        "INSERT INTO pubsub_nodes (owner, name, config, affiliations, subscriptions, pending) \
         SELECT id, $3, $4, $5, $6, $7 FROM accounts WHERE domain = $1 AND name = $2 \
         ON CONFLICT (owner, name) DO UPDATE SET config = excluded.config, \
         affiliations = excluded.affiliations, subscriptions = excluded.subscriptions, \
         pending = excluded.pending RETURNING id",
    )
    .bind(owner.domain())
    .bind(owner.node())
    .bind(&node.name)
    .bind(json(&node.config))
    .bind(json(&affiliations))
    .bind(names(&node.subscriptions))
    .bind(names(&node.pending))
    .fetch_one(&mut *c)
    .await?;
    row.try_get(0)
}

fn json(value: &impl serde::Serialize) -> String {
    // Plain values of ours: they always have a form in JSON.
    serde_json::to_string(value).unwrap_or_default()
}

fn read_node(row: &SqliteRow) -> Result<Node, sqlx::Error> {
    // A field that cannot be read has its default: the node is not lost with it.
    let affiliations: Vec<(String, Affiliation)> =
        serde_json::from_str(row.try_get(2)?).unwrap_or_default();
    let jid = |text: &str| Jid::parse(text).ok();
    let jids = |at: usize| -> Result<Vec<Jid>, sqlx::Error> {
        let names: Vec<String> = serde_json::from_str(row.try_get(at)?).unwrap_or_default();
        Ok(names.iter().filter_map(|name| jid(name)).collect())
    };
    Ok(Node {
        name: row.try_get(0)?,
        config: serde_json::from_str(row.try_get(1)?).map_err(|e| sqlx::Error::Decode(e.into()))?,
        affiliations: affiliations.iter().filter_map(|(j, a)| Some((jid(j)?, *a))).collect(),
        subscriptions: jids(3)?,
        pending: jids(4)?,
    })
}

async fn node_id(
    c: &mut SqliteConnection,
    owner: &Jid,
    name: &str,
) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT pubsub_nodes.id FROM pubsub_nodes JOIN accounts ON accounts.id = owner \
         WHERE domain = $1 AND accounts.name = $2 AND pubsub_nodes.name = $3",
    )
    .bind(owner.domain())
    .bind(owner.node())
    .bind(name)
    .fetch_optional(&mut *c)
    .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Removes what is too old by the node's settings.
async fn expire(c: &mut SqliteConnection, node: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM pubsub_items WHERE node = $1 AND created <= $2 - \
         (SELECT json_extract(config, '$.item_expire') FROM pubsub_nodes WHERE id = $1)",
    )
    .bind(node)
    .bind(chrono::Utc::now().timestamp())
    .execute(&mut *c)
    .await
    .map(|_| ())
}

/// Restricts a query to items with one of these ids.
fn among(query: &mut QueryBuilder<Sqlite>, ids: &[String]) {
    query.push(" AND item IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.clone());
    }
    list.push_unseparated(")");
}

impl Store {
    async fn page(
        &self,
        owner: &Jid,
        node: &Node,
        wanted: &Wanted,
    ) -> Result<Option<Page>, sqlx::Error> {
        let now = chrono::Utc::now().timestamp();
        let expire = node.config.item_expire.and_then(|seconds| i64::try_from(seconds).ok());
        let oldest = expire.map_or(i64::MIN, |seconds| now - seconds);
        // One snapshot for the items and their count.
        let mut read = self.readers.begin().await?;
        let Some(id) = node_id(&mut read, owner, &node.name).await? else {
            return Ok(Some(Page::default()));
        };
        let total = count(&mut read, id, oldest, i64::MAX).await?;
        let (from, up_to, count_of, offset, ascending) = match wanted {
            Wanted::Ids(_) => (0, i64::MAX, u32::MAX, 0, true),
            Wanted::At(at, count) => (0, i64::MAX, *count, *at, true),
            Wanted::After(None, count) => (0, i64::MAX, *count, 0, true),
            Wanted::Before(None, count) => (0, i64::MAX, *count, 0, false),
            Wanted::After(Some(item), count) => match place(&mut read, id, item, oldest).await? {
                Some(place) => (place, i64::MAX, *count, 0, true),
                None => return Ok(None),
            },
            Wanted::Before(Some(item), count) => match place(&mut read, id, item, oldest).await? {
                Some(place) => (0, place, *count, 0, false),
                None => return Ok(None),
            },
        };
        let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {ITEM}, id FROM pubsub_items"));
        query.push(" WHERE node = ").push_bind(id);
        query.push(" AND created > ").push_bind(oldest);
        query.push(" AND id > ").push_bind(from).push(" AND id < ").push_bind(up_to);
        if let Wanted::Ids(ids) = wanted {
            among(&mut query, ids);
        }
        query.push(if ascending { " ORDER BY id" } else { " ORDER BY id DESC" });
        query.push(" LIMIT ").push_bind(count_of).push(" OFFSET ").push_bind(offset);
        let mut rows = query.build().fetch_all(&mut *read).await?;
        if !ascending {
            rows.reverse();
        }
        let first = match rows.first() {
            Some(row) => count(&mut read, id, oldest, row.try_get(4)?).await?,
            None => 0,
        };
        let items = rows.iter().map(read_item).collect::<Result<_, _>>()?;
        Ok(Some(Page { items, first, total }))
    }
}

fn read_item(row: &SqliteRow) -> Result<Item, sqlx::Error> {
    let payload: Vec<u8> = row.try_get(3)?;
    Ok(Item {
        id: row.try_get(0)?,
        publisher: row.try_get(1)?,
        stamp: row.try_get(2)?,
        payload: Bytes::from(payload),
    })
}

/// How many items come before a place.
async fn count(
    c: &mut SqliteConnection,
    node: i64,
    oldest: i64,
    before: i64,
) -> Result<u32, sqlx::Error> {
    sqlx::query("SELECT count(*) FROM pubsub_items WHERE node = $1 AND created > $2 AND id < $3")
        .bind(node)
        .bind(oldest)
        .bind(before)
        .fetch_one(&mut *c)
        .await?
        .try_get(0)
}

/// Where an item stands in the order of its node.
async fn place(
    c: &mut SqliteConnection,
    node: i64,
    item: &str,
    oldest: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let row =
        sqlx::query("SELECT id FROM pubsub_items WHERE node = $1 AND item = $2 AND created > $3")
            .bind(node)
            .bind(item)
            .bind(oldest)
            .fetch_optional(&mut *c)
            .await?;
    row.map(|row| row.try_get(0)).transpose()
}

#[cfg(test)]
mod tests;
