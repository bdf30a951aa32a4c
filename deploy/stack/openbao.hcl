# The OpenBao of deploy/stack/compose.yaml.
ui           = false
api_addr     = "https://openbao:8200"
cluster_addr = "https://openbao:8201"

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/tls/openbao.pem"
  tls_key_file  = "/tls/openbao.key"
}

storage "raft" {
  path    = "/openbao/file"
  node_id = "openbao"
}
