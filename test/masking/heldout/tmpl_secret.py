# SPDX-License-Identifier: Apache-2.0
"""Texts around secrets. ⟦x⟧ is a value of kind x; a text that begins with json| has its values escaped as in JSON. X is any key of a vendor in ONE."""

ONE = """Sure! Here is a minimal client:
```python
client = ⟦ctor⟧("⟦X⟧")
print(client.models.list())
```
Keep the key out of version control.
===
export ⟦env⟧=⟦X⟧
===
json|{"status":"ok","data":{"name":"ci-bot","token":"⟦X⟧","expires_in":3600}}
===
I found a credential committed in `deploy/values.yaml` (line 41): `⟦X⟧`. Rotate it right away and purge it from history.
===
2026-08-14T09:12:44.120Z WARN  auth: rejected request, header "Authorization: Bearer ⟦X⟧" (status=401)
===
curl -s -H "Authorization: Bearer ⟦X⟧" https://api.internal.example.net/v2/jobs | jq .
===
services:
  worker:
    image: registry.example.com/worker:2.4
    environment:
      - QUEUE=default
      - ⟦env⟧=⟦X⟧
===
| name | value | rotated |
|---|---|---|
| ⟦env⟧ | ⟦X⟧ | 2026-02-01 |
| REGION | eu-south-2 | - |
===
Hi team, the staging key is ⟦X⟧ — please do not paste it in the channel again.
===
const ⟦var⟧ = '⟦X⟧';
module.exports = { ⟦var⟧ };
===
+    private static final String ⟦env⟧ = "⟦X⟧";
-    private static final String ⟦env⟧ = System.getenv("⟦env⟧");
===
$ cat ~/.config/tool/credentials
[default]
⟦var⟧ = ⟦X⟧
===
Your answer was: the value of ⟦env⟧ is "⟦X⟧".
===
<add key="⟦env⟧" value="⟦X⟧" />
===
INSERT INTO integrations (id, provider, credential) VALUES (17, 'prod', '⟦X⟧');
===
json|{"role":"tool","content":"{\\"⟦env⟧\\": \\"⟦X⟧\\"}"}
===
let ⟦var⟧ = String::from("⟦X⟧"); // still to be read from the vault
===
apiVersion: v1
kind: ConfigMap
data:
  ⟦env⟧: "⟦X⟧"
===
Step 3. Paste `⟦X⟧` into the **API key** box and press Save.
===
id,service,key
1,billing,⟦X⟧
2,search,none
===
got key=⟦X⟧; retrying in 5s
===
Traceback (most recent call last):
  File "/srv/app/run.py", line 88, in main
RuntimeError: invalid credential: ⟦X⟧
===
$⟦var⟧ = "⟦X⟧"; // PHP
===
docker run --rm -e ⟦env⟧=⟦X⟧ example/tool:latest sync
===
(⟦X⟧)
===
⟦X⟧
===
Je sleutel is ⟦X⟧, bewaar hem goed.
===
La chiave per l'ambiente di prova è ⟦X⟧.
===
GET /v1/items?page=2&access_token=⟦X⟧ HTTP/1.1
Host: api.example.org
===
    key: ⟦X⟧  # old one, revoke
""".split("\n===\n")

GENERIC = """DB_PASSWORD=⟦password⟧
===
spring.datasource.password=⟦password⟧
===
password: "⟦password⟧"
===
json|{"username":"svc_reports","password":"⟦password⟧"}
===
The temporary password is ⟦password⟧ and must be changed at first login.
===
I reset it for you. New password: ⟦password⟧
===
api_key = "⟦opaque⟧"
===
x-api-key: ⟦opaque⟧
===
CLIENT_SECRET=⟦opaque⟧
===
json|{"client_id":"web-portal","client_secret":"⟦opaque⟧","grant_type":"client_credentials"}
===
SECRET_KEY = '⟦opaque⟧'
===
const sessionSecret = "⟦opaque⟧";
===
private String dbPass = "⟦password⟧";
===
mysqldump -u root --password=⟦password⟧ shop > shop.sql
===
CREATE USER reporting IDENTIFIED BY '⟦password⟧';
===
ALTER ROLE app WITH PASSWORD '⟦password⟧';
===
curl -u deploy:⟦password⟧ https://nexus.example.com/repository/maven-releases/
===
machine git.example.com
  login builder
  password ⟦password⟧
===
signing_key: ⟦opaque⟧
===
webhook_secret: ⟦opaque⟧
region: ap-southeast-2
===
$config['encryption_key'] = '⟦opaque⟧';
===
os.environ["AUTH_TOKEN"] = "⟦opaque⟧"
===
    access_token: "⟦opaque⟧",
===
<password>⟦password⟧</password>
===
network={
  ssid="workshop"
  psk="⟦password⟧"
}
===
The admin passphrase for the backup is `⟦password⟧`.
===
var token = "⟦opaque⟧"
===
refresh_token=⟦opaque⟧&grant_type=refresh_token
===
Contraseña: ⟦password⟧
===
Hasło do panelu: ⟦password⟧
===
Authorization: Basic ⟦basic⟧
===
sshpass -p '⟦password⟧' ssh deploy@build-07 uptime
===
ENV ADMIN_PASSWORD ⟦password⟧
===
auth_token => '⟦opaque⟧',
===
userPassword: ⟦password⟧
===
login: ops / pw: ⟦password⟧
===
encryptionKey: "⟦opaque⟧"
""".split("\n===\n")

CONN = """DATABASE_URL=postgres://app:⟦urlpw⟧@db-01.internal:5432/orders
===
DATABASE_URL="postgresql+asyncpg://svc:⟦urlpw⟧@10-0-3-7.db.example.net/prod?sslmode=require"
===
mongodb+srv://reader:⟦urlpw⟧@cluster7.example.mongodb.net/catalog
===
redis://:⟦urlpw⟧@cache.example.org:6379/2
===
amqp://worker:⟦urlpw⟧@mq.example.org/%2Fprod
===
engine = create_engine("mysql+pymysql://etl:⟦urlpw⟧@warehouse/sales")
===
Server=tcp:sql9.example.net,1433;Database=erp;User ID=erp_app;Password=⟦urlpw⟧;Encrypt=True;
===
Data Source=ora1;User Id=hr;Password=⟦urlpw⟧;Pooling=false
===
spring.datasource.url=jdbc:postgresql://db/app?user=app&password=⟦urlpw⟧
===
jdbc:sqlserver://host:1433;databaseName=crm;user=crm;password=⟦urlpw⟧;
===
json|{"uri":"amqps://svc:⟦urlpw⟧@mq1.example.com:5671","prefetch":20}
===
git clone https://ci-bot:⟦urlpw⟧@git.example.com/team/app.git
===
smtp://mailer:⟦urlpw⟧@mail.example.org:587
===
DefaultEndpointsProtocol=https;AccountName=blobs01;AccountKey=⟦b64key⟧;EndpointSuffix=core.windows.net
===
Endpoint=sb://bus.example.net/;SharedAccessKeyName=Root;SharedAccessKey=⟦b64key32⟧
===
It connects with `clickhouse://default:⟦urlpw⟧@ch-1:9000/metrics`, so the password is in plain text.
===
host=db1 port=5432 dbname=app user=app password=⟦urlpw⟧ sslmode=disable
===
ftp://upload:⟦urlpw⟧@files.example.org/incoming
===
dial tcp: cannot reach neo4j+s://neo4j:⟦urlpw⟧@graph.example.io: i/o timeout
===
CELERY_BROKER_URL: rediss://celery:⟦urlpw⟧@redis.example.com:6380/0
""".split("\n===\n")

AWS = """aws_access_key_id = ⟦awsid⟧
aws_secret_access_key = ⟦awssecret⟧
===
export AWS_ACCESS_KEY_ID=⟦awsid⟧
export AWS_SECRET_ACCESS_KEY=⟦awssecret⟧
===
json|{"AccessKeyId":"⟦awsid⟧","SecretAccessKey":"⟦awssecret⟧","Status":"Active"}
===
provider "aws" {
  access_key = "⟦awsid⟧"
  secret_key = "⟦awssecret⟧"
}
===
boto3.client("s3", aws_access_key_id="⟦awsid⟧", aws_secret_access_key="⟦awssecret⟧")
===
Access key ID,Secret access key
⟦awsid⟧,⟦awssecret⟧
===
Access key: ⟦awsid⟧
Secret key: ⟦awssecret⟧
===
new BasicAWSCredentials("⟦awsid⟧", "⟦awssecret⟧");
===
The user's access key is ⟦awsid⟧ and the AWS secret is ⟦awssecret⟧.
===
AWS_ACCESS_KEY_ID: ⟦awsid⟧
AWS_SECRET_ACCESS_KEY: "⟦awssecret⟧"
AWS_DEFAULT_REGION: sa-east-1
""".split("\n===\n")

PEM = """⟦pem⟧
===
Here is the file:

```
⟦pem⟧
```
===
json|{"type":"service_account","project_id":"demo-77","private_key":"⟦pem⟧\n"}
===
$ cat id_key
⟦pem⟧
$ 
===
tls:
  key: |
⟦pemindent⟧
===
const key = `⟦pem⟧`;
""".split("\n===\n")

AZURE = """AZURE_STORAGE_KEY=⟦b64key⟧
===
AccountKey=⟦b64key⟧
===
TWILIO_REGION=ie1
TWILIO_AUTH_TOKEN=⟦hex32⟧
===
CLOUDFLARE_API_TOKEN=⟦an40⟧
===
DATADOG_API_KEY: ⟦hex32⟧
===
HEROKU_API_KEY=⟦uuid⟧
===
COHERE_API_KEY="⟦an40⟧"
===
MISTRAL_API_KEY=⟦an32⟧
===
algolia_admin_key: '⟦hex32⟧'
===
fastly_api_token = "⟦an32⟧"
===
okta_token = "00⟦an40⟧"
===
json|{"snyk_token":"⟦uuid⟧"}
""".split("\n===\n")
