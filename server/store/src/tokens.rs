//! Join tokens: digests only.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::query;
use crate::tx::{Read, Tx};
use avouch_core::JoinToken;
use avouch_core::node::TokenUse;
use avouch_words::{Digest, Millis};

impl Read {
    /// The token of this digest.
    pub async fn token(&mut self, digest: &Digest) -> Result<Option<JoinToken>, StoreError> {
        let row = query("SELECT * FROM tokens WHERE digest = $1")
            .bind(&digest.as_bytes()[..])
            .fetch_optional(self.sql())
            .await?;
        row.map(|row| {
            let cells = Cells::of(&row, "tokens");
            Ok(JoinToken {
                digest: cells.digest("digest")?,
                node: cells.name("node")?,
                created: cells.millis("created_ms")?,
                expires: cells.millis("expires_ms")?,
                used_with: cells.some_array("used_with")?.map(Digest::from_bytes),
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Keeps a token.
    pub async fn create_token(&mut self, token: &JoinToken) -> Result<(), StoreError> {
        self.change();
        query("INSERT INTO tokens (digest, node, created_ms, expires_ms) VALUES ($1, $2, $3, $4)")
            .bind(&token.digest.as_bytes()[..])
            .bind(token.node.as_str())
            .bind(token.created.0)
            .bind(token.expires.0)
            .execute(self.sql())
            .await
            .map_err(|error| StoreError::insert(error, "token", "token"))?;
        Ok(())
    }

    /// Uses a token, with a key. Whether this was its first use is the row count of one update, so that of any
    /// number of racing callers exactly one is first (H04); all that is said after a miss is why.
    pub async fn use_token(&mut self, digest: &Digest, key: &Digest, now: Millis) -> Result<TokenUse, StoreError> {
        self.change();
        let used =
            query("UPDATE tokens SET used_with = $1 WHERE digest = $2 AND used_with IS NULL AND expires_ms > $3")
                .bind(&key.as_bytes()[..])
                .bind(&digest.as_bytes()[..])
                .bind(now.0)
                .execute(self.sql())
                .await?
                .rows_affected();
        let Some(token) = self.token(digest).await? else {
            return Ok(TokenUse::Unknown);
        };
        Ok(if used == 1 {
            TokenUse::First(token.node)
        } else if now >= token.expires {
            TokenUse::Expired(token.node)
        } else if token.used_with.as_ref() == Some(key) {
            TokenUse::Again(token.node)
        } else {
            TokenUse::Replayed(token.node)
        })
    }
}
