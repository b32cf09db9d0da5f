"""Secrets that are kept by a cloud's secret manager, by reference.

| reference | what it names |
|---|---|
| `aws-sm://NAME`, `aws-sm://ARN` | the current version of a secret in AWS Secrets Manager |
| `azure-kv://VAULT/NAME` | of a secret in an Azure Key Vault |
| `gcp-sm://PROJECT/NAME` | of a secret in Google Secret Manager |

`#FIELD` behind it takes a member of a secret that is a JSON object. Who may read is found as each cloud's SDK
does it (environment, profile, workload identity); the SDKs come with the extras `aws`, `azure` and `gcp`.
"""
