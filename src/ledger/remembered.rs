//! Stores and returns named JSON values, in the table `settings`.

use serde_json::Value;

use super::Ledger;
use super::sql::{Result, decode};
use super::tables::settings;

impl Ledger {
    /// Stores a value under a name.
    pub async fn remember(&self, name: &str, value: &Value) -> Result<()> {
        let (name, value) = (name.to_owned(), value.to_string());
        self.write(move |unit| settings::store(unit, &name, &value)).await
    }

    /// What [`Ledger::remember`] stored.
    pub async fn remembered(&self, name: &str) -> Result<Option<Value>> {
        let name = name.to_owned();
        let text = self.read(move |tx| settings::value(tx, &name)).await?;
        text.map(|text| decode(&text)).transpose()
    }
}
