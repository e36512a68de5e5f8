//! The Azure clouds (public, US government, China), with the addresses where a target signs in and uploads.

use super::reader::Reader;

/// A cloud with its URLs. Hosts and scopes are those of Azure-Sentinel's upload connectors, authorities are
/// those of the Azure SDK.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cloud {
    pub authority: &'static str,
    pub scope: &'static str,
    pub management: &'static str,
    /// The base URL of the API for STIX objects.
    pub endpoint: &'static str,
    /// The base URL of Log Analytics' query API, and the scope of its tokens. The public cloud's scope still has the
    /// older name of the host.
    pub logs: &'static str,
    pub logs_scope: &'static str,
    pub is_public: bool,
    /// The audience of a managed identity's token if an application trusts it:
    /// <https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity>.
    pub exchange: &'static str,
}

const PUBLIC: Cloud = Cloud {
    authority: "https://login.microsoftonline.com",
    scope: "https://management.azure.com/.default",
    management: "https://management.azure.com",
    endpoint: "https://api.ti.sentinel.azure.com",
    logs: "https://api.loganalytics.azure.com",
    logs_scope: "https://api.loganalytics.io/.default",
    is_public: true,
    exchange: "api://AzureADTokenExchange",
};

const US_GOVERNMENT: Cloud = Cloud {
    authority: "https://login.microsoftonline.us",
    scope: "https://management.usgovcloudapi.net/.default",
    management: "https://management.usgovcloudapi.net",
    endpoint: "https://api.ti.sentinel.azure.us",
    logs: "https://api.loganalytics.us",
    logs_scope: "https://api.loganalytics.us/.default",
    is_public: false,
    exchange: "api://AzureADTokenExchangeUSGov",
};

const CHINA: Cloud = Cloud {
    authority: "https://login.chinacloudapi.cn",
    scope: "https://management.chinacloudapi.cn/.default",
    management: "https://management.chinacloudapi.cn",
    endpoint: "https://api.ti.sentinel.azure.cn",
    logs: "https://api.loganalytics.azure.cn",
    logs_scope: "https://api.loganalytics.azure.cn/.default",
    is_public: false,
    exchange: "api://AzureADTokenExchangeChina",
};

/// Reads the cloud at `key`.
pub(super) fn read(reader: &mut Reader, key: &str) -> Cloud {
    let clouds = [("public", PUBLIC), ("us-government", US_GOVERNMENT), ("china", CHINA)];
    reader.one_of(key, &clouds, PUBLIC)
}
