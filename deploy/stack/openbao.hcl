# The OpenBao of deploy/stack/compose.yaml.
ui            = false
api_addr      = "https://openbao:8200"
disable_mlock = true

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/tls/openbao.pem"
  tls_key_file  = "/tls/openbao.key"
}

storage "file" {
  path = "/openbao/file"
}
