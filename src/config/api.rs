//! Sentinel's three upload APIs, with the addresses and body shapes in which they differ. The current one and
//! the older ones: <https://learn.microsoft.com/en-us/azure/sentinel/stix-objects-api>,
//! <https://learn.microsoft.com/en-us/azure/sentinel/upload-indicators-api>

use super::cloud::Cloud;

/// An upload API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Api {
    /// The current API, for indicators and context objects.
    StixObjects,
    /// The older API, for indicators only.
    IndicatorsV2,
    /// The deprecated first version of the older API.
    IndicatorsV1,
}

/// The base URL of both older APIs in the public cloud. For other clouds none was ever documented.
const INDICATORS_ENDPOINT: &str = "https://sentinelus.azure-api.net";

impl Api {
    /// Returns the API's name in the configuration.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Returns whether the API accepts only indicators.
    pub fn takes_only_indicators(self) -> bool {
        self != Self::StixObjects
    }

    /// Returns the name of the list of objects in a request.
    pub fn list(self) -> &'static str {
        match self {
            Self::StixObjects => "stixobjects",
            Self::IndicatorsV2 => "indicators",
            Self::IndicatorsV1 => "value",
        }
    }

    /// Returns the path, with the placeholder `{workspace_id}`. Microsoft's connector for the US Government
    /// writes the first path without its second hyphen. Users report that only this spelling works there too.
    pub fn path(self) -> &'static str {
        match self {
            Self::StixObjects => {
                "/workspaces/{workspace_id}/threat-intelligence-stix-objects:upload"
            }
            Self::IndicatorsV2 => "/workspaces/{workspace_id}/threatintelligenceindicators:upload",
            Self::IndicatorsV1 => "/{workspace_id}/threatintelligence:upload-indicators",
        }
    }

    /// Returns the API version. Empty: the API has none.
    pub fn version(self) -> &'static str {
        match self {
            Self::StixObjects => "2024-02-01-preview",
            Self::IndicatorsV2 => "2022-07-01",
            Self::IndicatorsV1 => "",
        }
    }

    /// Returns the base URL in a cloud. `None`: it is not known.
    pub(super) fn endpoint(self, cloud: &Cloud) -> Option<&'static str> {
        match (self, cloud.is_public) {
            (Self::StixObjects, _) => Some(cloud.endpoint),
            (_, true) => Some(INDICATORS_ENDPOINT),
            (_, false) => None,
        }
    }
}
