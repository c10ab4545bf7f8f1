//! Tokens at a server's sidecar.

use super::{Case, case};
use crate::world::Side::Server;

pub const CASES: &[Case] = &[
    case("one_issuer", Server, "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: default}
spec: {jwtRules: [{issuer: 'https://a.example', jwks: '{keys-a}'}]}
", "
        GET http://web:9080/                          => 10.1.0.2:9080
        GET http://web:9080/  @token=alice            => 10.1.0.2:9080
        GET http://web:9080/  @token=expired  @envoy  => 401
        GET http://web:9080/  @token=forged  @envoy   => 401
        GET http://web:9080/  @token=other-key        => 401
        GET http://web:9080/  @token=alice-of-b       => 401
        GET http://web:9080/  @token=unknown-issuer   => 401
        GET http://web:9080/  @token=garbage          => 401
        GET http://web:9080/  authorization: Basic YTpi  => 10.1.0.2:9080
        GET http://web:9080/  authorization: Bearer   => 10.1.0.2:9080|401
    "),
    case("claims", Server, "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: default}
spec: {jwtRules: [{issuer: 'https://a.example', jwks: '{keys-a}'}, {issuer: 'https://b.example', jwks: '{keys-b}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec:
  rules:
  - from: [{source: {requestPrincipals: ['https://a.example/alice']}}]
    to: [{operation: {paths: [/alice]}}]
  - from: [{source: {requestPrincipals: ['https://a.example/*']}}]
    to: [{operation: {paths: [/any-of-a]}}]
  - from: [{source: {requestPrincipals: ['*/alice']}}]
    to: [{operation: {paths: [/any-alice]}}]
  - from: [{source: {notRequestPrincipals: ['*']}}]
    to: [{operation: {paths: [/nobody]}}]
  - to: [{operation: {paths: [/admin]}}]
    when: [{key: 'request.auth.claims[groups]', values: [admin]}]
  - to: [{operation: {paths: [/not-dev]}}]
    when: [{key: 'request.auth.claims[groups]', notValues: [dev]}]
  - to: [{operation: {paths: [/write]}}]
    when: [{key: 'request.auth.claims[scope]', values: [write]}]
  - to: [{operation: {paths: [/editor]}}]
    when: [{key: 'request.auth.claims[realm][roles]', values: [editor]}]
  - to: [{operation: {paths: [/shop]}}]
    when: [{key: request.auth.audiences, values: [shop]}]
", "
        GET http://web:9080/alice                              => 403
        GET http://web:9080/alice  @token=alice                => 10.1.0.2:9080
        GET http://web:9080/alice  @token=bob                  => 403
        GET http://web:9080/alice  @token=alice-of-b           => 403
        GET http://web:9080/alice  @token=forged  @envoy       => 401
        GET http://web:9080/any-of-a  @token=bob               => 10.1.0.2:9080
        GET http://web:9080/any-of-a  @token=alice-of-b        => 403
        GET http://web:9080/any-alice  @token=alice-of-b       => 10.1.0.2:9080
        GET http://web:9080/any-alice  @token=bob              => 403
        GET http://web:9080/nobody                             => 10.1.0.2:9080
        GET http://web:9080/nobody  @token=bob                 => 403
        GET http://web:9080/admin  @token=alice                => 10.1.0.2:9080
        GET http://web:9080/admin  @token=alice-of-b           => 10.1.0.2:9080
        GET http://web:9080/admin  @token=bob                  => 403
        GET http://web:9080/admin                              => 403
        GET http://web:9080/not-dev  @token=bob                => 403
        GET http://web:9080/not-dev  @token=scoped             => 10.1.0.2:9080
        GET http://web:9080/write  @token=scoped               => 10.1.0.2:9080
        GET http://web:9080/write  @token=alice                => 403
        GET http://web:9080/editor  @token=nested              => 10.1.0.2:9080
        GET http://web:9080/editor  @token=alice               => 403
        GET http://web:9080/shop  @token=audience              => 10.1.0.2:9080
        GET http://web:9080/shop  @token=alice                 => 403
        GET http://web:9080/alice  @token=unknown-issuer       => 401
        TCP tcp://web:9000                                     => closed
    "),
    case("audiences_and_places", Server, "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: default}
spec:
  jwtRules:
  - issuer: https://a.example
    jwks: '{keys-a}'
    audiences: [shop, other]
    fromHeaders: [{name: x-token, prefix: 'Token '}]
    fromParams: [t]
    outputPayloadToHeader: x-payload
    forwardOriginalToken: true
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec: {rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}
", "
        GET http://web:9080/                       => 403
        GET http://web:9080/  @token=audience      => 403
        GET http://web:9080/  x-token: garbage     => 403
        GET http://web:9080/  x-token: Token x.y   => 401
        GET http://web:9080/?t=nonsense            => 401
        GET http://web:9080/  x-payload: forged    @envoy  => 403
    "),
    case("keys_that_could_not_be_fetched", Server, "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: default}
spec: {jwtRules: [{issuer: 'https://a.example', jwksUri: 'https://unreachable.example/keys'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: default}
spec: {rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}
", "
        GET http://web:9080/                       => 403
        GET http://web:9080/  @token=alice         => 401
        GET http://web:9080/  @token=forged        => 401
        GET http://web:9080/  @token=alice-of-b    => 401
    "),
];
