//! Sentinel's three upload APIs, with the addresses and body shapes in which they differ. The current one and
//! the older ones: <https://learn.microsoft.com/en-us/azure/sentinel/stix-objects-api>,
//! <https://learn.microsoft.com/en-us/azure/sentinel/upload-indicators-api>

use super::cloud::Cloud;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Api {
    /// Indicators and what goes beside them.
    StixObjects,
    /// Indicators only.
    IndicatorsV2,
    /// The deprecated first form of it.
    IndicatorsV1,
}

/// Of both older APIs, in the public cloud; others were never documented.
const INDICATORS_ENDPOINT: &str = "https://sentinelus.azure-api.net";

impl Api {
    /// As the configuration spells it.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Whether it takes nothing but indicators.
    pub fn takes_only_indicators(self) -> bool {
        self != Self::StixObjects
    }

    /// The name of the list of objects in a request.
    pub fn list(self) -> &'static str {
        match self {
            Self::StixObjects => "stixobjects",
            Self::IndicatorsV2 => "indicators",
            Self::IndicatorsV1 => "value",
        }
    }

    /// With `{workspace_id}` to fill in. The connector's text for the US Government writes the first
    /// without its second hyphen; only this spelling works there as well, as users report.
    pub fn path(self) -> &'static str {
        match self {
            Self::StixObjects => {
                "/workspaces/{workspace_id}/threat-intelligence-stix-objects:upload"
            }
            Self::IndicatorsV2 => "/workspaces/{workspace_id}/threatintelligenceindicators:upload",
            Self::IndicatorsV1 => "/{workspace_id}/threatintelligence:upload-indicators",
        }
    }

    /// Empty: it has none.
    pub fn version(self) -> &'static str {
        match self {
            Self::StixObjects => "2024-02-01-preview",
            Self::IndicatorsV2 => "2022-07-01",
            Self::IndicatorsV1 => "",
        }
    }

    /// Its address in a cloud, where that is known.
    pub(super) fn endpoint(self, cloud: &Cloud) -> Option<&'static str> {
        match (self, cloud.is_public) {
            (Self::StixObjects, _) => Some(cloud.endpoint),
            (_, true) => Some(INDICATORS_ENDPOINT),
            (_, false) => None,
        }
    }
}
