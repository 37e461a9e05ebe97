//! Which app servers are told of what an absent user misses (XEP-0357).

use sqlx::Row;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{BoxFuture, PushTarget, Pushes, StoreError};

use super::{Store, fault};

impl Pushes for Store {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<PushTarget>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT service, node, options, resource FROM pushes \
                 JOIN accounts ON accounts.id = owner WHERE domain = $1 AND name = $2",
            )
            .bind(owner.domain())
            .bind(owner.node())
            .fetch_all(&self.readers)
            .await
            .map_err(|e| fault(&e))?;
            rows.iter()
                .map(|row| {
                    let service: String = row.try_get(0).map_err(|e| fault(&e))?;
                    let options: Option<Vec<u8>> = row.try_get(2).map_err(|e| fault(&e))?;
                    Ok(PushTarget {
                        service: Jid::parse(&service)
                            .map_err(|_| StoreError::Unavailable("a stored address".into()))?,
                        node: row.try_get(1).map_err(|e| fault(&e))?,
                        options: options.map(Into::into),
                        resource: row.try_get(3).map_err(|e| fault(&e))?,
                    })
                })
                .collect()
        })
    }

    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        target: &'a PushTarget,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, target) = (owner.bare(), target.clone());
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO pushes (owner, service, node, options, resource) \
                     SELECT id, $3, $4, $5, $6 FROM accounts WHERE domain = $1 AND name = $2 \
                     ON CONFLICT (owner, service, node) \
                     DO UPDATE SET options = excluded.options, resource = excluded.resource",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .bind(target.service.as_str())
                .bind(&target.node)
                .bind(target.options.as_deref())
                .bind(&target.resource)
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }

    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        service: &'a Jid,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owner, service) = (owner.bare(), service.clone());
        let node = node.map(str::to_owned);
        Box::pin(self.write(move |c| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM pushes WHERE service = $3 AND ($4 IS NULL OR node = $4) \
                     AND owner = (SELECT id FROM accounts WHERE domain = $1 AND name = $2)",
                )
                .bind(owner.domain())
                .bind(owner.node())
                .bind(service.as_str())
                .bind(node)
                .execute(c)
                .await
                .map(|_| ())
            })
        }))
    }
}
