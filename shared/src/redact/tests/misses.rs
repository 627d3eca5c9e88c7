//! What must stay, byte for byte, and is not even copied.

use std::borrow::Cow;

use super::super::Redactor;

#[rustfmt::skip]
const ORDINARY: &[&str] = &[
    "", "boom", "Order 10174 of customer 3f2504e0-4f89-41d3-9a0c-0305e82c3301 failed after 3012 ms",
    // ids, numbers, times
    "trace_id=33f713d592f8475e9e59f0f283cac538 span b837cb04f861690e", "2026-11-23T06:05:08.738835Z", "12:34:56",
    "1795413931379181500", "0.8494917044315338", "order 4111111111111112", "order 1234 5678 9012 3456", "+49 30 901820",
    "41111111-1111-1111-1111-111111111111", "tracking 9400110200881234567890", "0x7ffe1234abcd", "sha256:4355a46b19d348",
    "a4111111111111111f", "commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "3.4111111111111111", "aa:bb:cc:dd:ee:ff",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV", "$1,234.56", "100% of 5", "50%", "7 - 3 = 4", "a,b,c", "1 2 3 4 5 6 7 8 9 10 11 12 13",
    // versions and special addresses
    "v1.2.3.4", "version 1.2.3.4", "Version=4.0.0.0, Culture=neutral, PublicKeyToken=b77a5c561934e089",
    "release: \"1.2.3.4\"", "foo@1.2.3", "foo@1.2.3-beta.rc", "npm:foo@^1.2.3", "@types/node@20.1.0", "1.2.3",
    "Chrome/120.0.0.0 Safari/537.36", "1.3.6.1.4.1.311.2.1", "127.0.0.1:3000", "0.0.0.0:8080", "http://[::1]:3000/x",
    "255.255.255.0", "10.0.0.0/8", "256.1.2.3", "python 3.11.7 (main, May  9 2026, 07:35:25)", "Bun v1.1.0",
    // code
    "std::sync::Arc", "dead::beef", "at Foo::bar (a.rs:10:5)", "core::result::unwrap_failed", "@app.route('/x')",
    "@media (max-width: 600px) { a { color: #fff; } }", "@Override public void x()", "logo@2x.png", "send@app.js:10:5",
    "foo@http://localhost:3000/main.js:1:2", "git@github.com:org/repo.git", "ssh://git@github.com/org/repo",
    "root@localhost", "image:tag@sha256:0a1b", "    at async Layer.handle (/srv/node_modules/express/layer.js:174:5)",
    "File \"/app/auth/token.py\", line 3, in refresh_token", "app/models/session.rb:12:in `create'",
    "com.x.TokenService.validate(TokenService.java:12)", "/src/auth/token.go:12 +0x1", "auth/token:12",
    "    password = request.form[\"x\"]", "const token = await fetchToken()", "token = get_token(user)", "self.token = token",
    "def login(password: str, token: Token):", "let secret: Option<String>", "if (password == null)", "password=password",
    "this.token = options.token;", "--token-count 5", "a -- b", "x => y", "SELECT * FROM tokens WHERE password = $1",
    "INSERT INTO users (email, password) VALUES (?, ?)", "password=${DB_PASSWORD}", "token: {{ token }}", "password=%s",
    ".btn--primary::before { content: '' }", "task-force-abcdefghijklmnopqrstuvwxyz", "sk-circle-fade-dot-animation",
    "disk-usage-of-the-first-partition-2024", "npm_config_registry=https://registry.npmjs.org/", "skeleton", "SG.x",
    "Object.keys(x).map(key => x[key])", "https://example.com/a/b?page=2&sort=name#top", "file:///C:/Users/x/a.txt",
    "http://db:5432/x@y", "postgres://app@db/shop", "https://example.com:8443/a", "webpack-internal:///./src/a.ts",
    "sourceMappingURL=main.js.map", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg", "<div class=\"a\">x</div>",
    // prose about secrets
    "token expired", "invalid password", "Invalid password: must be at least 8 characters", "Unexpected token: }",
    "SyntaxError: Unexpected token < in JSON at position 0", "Unexpected token: punc", "InvalidTokenError: bad", 
    "password: required", "token: not found", "The password is too short.", "authorization failed", "cookies disabled",
    "Bearer token expired", "Bearer authentication failed", "Bearer realm=\"shop\", error=\"invalid_token\"",
    "basic information", "Basic authentication required", "bearer of bad news", "Session: closed", "Pass: 12, Fail: 3",
    "token_count=512 max_tokens: 4096", "tokens: 512", "token_type=bearer", "password=***", "password=[Filtered]&a=1",
    "login <user> <password> <host>", "missing fields: [\"password\", \"email\"]", "('password', 'email')", "secretary: John",
    "page_token=abc", "cookie: none", "?key=name&code=404", "keyboard: qwerty", "password=", "password:", "token=\"\"",
];

#[test]
fn ordinary_text_stays() {
    let changed = ORDINARY.iter().map(|text| (*text, Redactor::default().text(text)));
    let changed: Vec<_> = changed.filter(|(_, redacted)| matches!(redacted, Cow::Owned(_))).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn the_benchmarks_stack_loses_nothing_but_its_addresses() {
    let body = include_str!("../../../../tests/benches/reports/11kB.json");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let stack = body["error"]["stack"].as_str().unwrap();
    assert_eq!(Redactor::default().text(stack), stack.replace("10.0.4.17", "[ip]"));
}
