/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server on TCP with TLS: whose certificate is taken, what is encrypted, and that the stream
 * may come in any pieces. Keys and certificates are made by the test; its client is OpenSSL over
 * memory, so that it decides which bytes go when.
 */
#include "test/unit/xsand/server_world.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include "lib/rpc/tls.h"

#define TOKEN "0123456789abcdef-a-token"
#define AUTHENTICATE                                                                               \
	"{\"jsonrpc\":\"2.0\",\"method\":\"authenticate\",\"id\":1,\"params\":{\"token\":\"" TOKEN \
	"\"}}"

/* ---- certificates ---- */

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static struct identity ca, other_ca, server_id, client_id, stranger_id, expired_id;

static struct identity make_identity(const char *name, const struct identity *issuer, long days)
{
	struct identity id = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
	static long serial;
	X509_NAME *subject = X509_get_subject_name(id.cert);
	X509_EXTENSION *ext;

	assert_non_null(id.key);
	X509_set_version(id.cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), -10 * 86400L);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), days * 86400L);
	X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(
		id.cert, issuer != NULL ? X509_get_subject_name(issuer->cert) : subject);
	X509_set_pubkey(id.cert, id.key);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
		issuer == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
	assert_int_equal(X509_add_ext(id.cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(id.cert, issuer != NULL ? issuer->key : id.key, EVP_sha256()) > 0);
	return id;
}

static void free_identity(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
}

/* A file of the world's directory. */
static const char *file(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", world.dir, name);
	return path;
}

static void write_identity(const char *name, const struct identity *id, const char *passphrase)
{
	char key_name[32];
	FILE *f = fopen(file(name), "w");

	assert_int_equal(PEM_write_X509(f, id->cert), 1);
	fclose(f);
	snprintf(key_name, sizeof(key_name), "%s.key", name);
	f = fopen(file(key_name), "w");
	assert_int_equal(
		PEM_write_PrivateKey(f, id->key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
			NULL, 0, NULL, (void *)passphrase),
		1);
	fclose(f);
}

static int set_up_group(void **state)
{
	ca = make_identity("our CA", NULL, 10);
	other_ca = make_identity("another CA", NULL, 10);
	server_id = make_identity("server", &ca, 10);
	client_id = make_identity("client", &ca, 10);
	stranger_id = make_identity("stranger", &other_ca, 10);
	expired_id = make_identity("expired", &ca, -1);
	return 0;
}

static int tear_down_group(void **state)
{
	free_identity(&ca);
	free_identity(&other_ca);
	free_identity(&server_id);
	free_identity(&client_id);
	free_identity(&stranger_id);
	free_identity(&expired_id);
	return 0;
}

/* ---- the server ---- */

static struct xrpc_tls *tls;

static int set_up(void **state)
{
	world_set_up(true);
	write_identity("ca", &ca, NULL);
	write_identity("server", &server_id, NULL);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {
		"ca", "ca.key", "server", "server.key", "locked", "locked.key", "text"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		unlink(file(names[i]));
	}
	world_tear_down();
	xrpc_tls_free(tls);
	tls = NULL;
	return 0;
}

static int make_tls(const char *cert, const char *key, const char *client_ca, struct xu_error *err)
{
	struct xrpc_tls_opts opts = {.cert_path = cert != NULL ? file(cert) : NULL,
		.key_path = key != NULL ? file(key) : NULL,
		.client_ca_path = client_ca != NULL ? file(client_ca) : NULL};

	return xrpc_tls_new(&opts, &tls, err);
}

static void start(const char *client_ca, const char *token)
{
	struct xrpc_tcp_opts opts = {.address = "127.0.0.1", .token = token};
	struct xu_error err = {0};

	if (make_tls("server", "server.key", client_ca, &err) != 0) {
		fail_msg("%s", err.text);
	}
	opts.tls = tls;
	if (xrpc_server_new_tcp(world.reactor, world.service, &opts, &world.server, &err) != 0) {
		fail_msg("%s", err.text);
	}
	xrpc_server_start(world.server);
}

/* ---- a client ---- */

struct client {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	size_t piece; /* bytes sent at a time */
	bool is_closed;
};

static void open_client(struct client *c, const struct identity *id, size_t piece)
{
	*c = (struct client){.fd = world_client_tcp(), .piece = piece};
	c->ctx = SSL_CTX_new(TLS_client_method());
	if (id != NULL) {
		assert_int_equal(SSL_CTX_use_certificate(c->ctx, id->cert), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(c->ctx, id->key), 1);
	}
	assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx), ca.cert), 1);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	c->ssl = SSL_new(c->ctx);
	c->in = BIO_new(BIO_s_mem());
	c->out = BIO_new(BIO_s_mem());
	SSL_set_bio(c->ssl, c->in, c->out);
	SSL_set_connect_state(c->ssl);
}

static void close_client(struct client *c)
{
	close(c->fd);
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	ERR_clear_error();
}

/* What SSL_read() and the like want after `rc`. Client and server have one queue of errors here, so
 * it is asked for at once. */
static int want(struct client *c, int rc)
{
	int error = SSL_get_error(c->ssl, rc);

	ERR_clear_error();
	return error;
}

/* Carries what there is in both directions. */
static void carry(struct client *c)
{
	char *bytes, buf[65536];
	long left = BIO_get_mem_data(c->out, &bytes);
	ssize_t got;

	for (long at = 0; at < left;) {
		size_t len = (size_t)(left - at) < c->piece ? (size_t)(left - at) : c->piece;

		if (!send_all(c->fd, bytes + at, len)) {
			c->is_closed = true;
			break;
		}
		at += (long)len;
	}
	(void)BIO_reset(c->out);
	world_poll(1);
	while ((got = recv(c->fd, buf, sizeof(buf), 0)) > 0) {
		BIO_write(c->in, buf, (int)got);
	}
	c->is_closed |= got == 0 || (got < 0 && errno != EAGAIN);
}

static void say(struct client *c, const char *text)
{
	for (int i = 0; i < 5000; i++) {
		int error = want(c, SSL_write(c->ssl, text, (int)strlen(text)));

		carry(c);
		if (error == SSL_ERROR_NONE) {
			return;
		}
		assert_int_equal(error, SSL_ERROR_WANT_READ);
	}
	fail_msg("no handshake");
}

/* Receives `len` bytes; returns how many came before the session or the stream ended. */
static size_t hear(struct client *c, char *text, size_t len)
{
	size_t have = 0;

	for (int i = 0; i < 20000 && have < len; i++) {
		int rc = SSL_read(c->ssl, text + have, (int)(len - have));

		if (rc > 0) {
			have += (size_t)rc;
			continue;
		}
		if (want(c, rc) != SSL_ERROR_WANT_READ ||
			(c->is_closed && BIO_ctrl_pending(c->in) == 0)) {
			break;
		}
		carry(c);
	}
	return have;
}

static void expect_tls(struct client *c, const char *expected)
{
	char *text = calloc(1, strlen(expected) + 1);

	hear(c, text, strlen(expected));
	assert_string_equal(text, expected);
	free(text);
}

/* The server has refused the client: an alert or the end, and nothing else. */
static void expect_refusal(struct client *c)
{
	int error = SSL_ERROR_WANT_READ;
	char byte;

	for (int i = 0; i < 2000 && error == SSL_ERROR_WANT_READ && !c->is_closed; i++) {
		error = want(c, SSL_do_handshake(c->ssl));
		carry(c);
	}
	if (error == SSL_ERROR_NONE) {
		SSL_write(c->ssl, CALL("hold", "1", ""), (int)strlen(CALL("hold", "1", "")));
		carry(c);
	}
	assert_int_equal(hear(c, &byte, 1), 0);
	world_jump(2 * XU_NS_PER_S);
	assert_null(world.held);
	assert_int_equal(xrpc_server_nr_connections(world.server), 0);
}

/* ---- who may call ---- */

static void test_tls_takes_a_certificate_of_the_ca(void **state)
{
	struct client c;

	start("ca", NULL);
	open_client(&c, &client_id, SIZE_MAX);
	say(&c, CALL("echo", "1", ",\"params\":{\"a\":1}") CALL("echo", "2", ""));
	expect_tls(&c, RESULT("1", "{\"a\":1}") RESULT("2", "null"));
	assert_string_equal(SSL_get_version(c.ssl), "TLSv1.3");
	say(&c, CALL("echo", "3", ""));
	expect_tls(&c, RESULT("3", "null"));
	close_client(&c);
}

static void test_tls_refuses_other_clients(void **state)
{
	const struct identity *ids[] = {NULL, &stranger_id, &expired_id};
	struct client c;

	start("ca", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		open_client(&c, ids[i], SIZE_MAX);
		expect_refusal(&c);
		close_client(&c);
	}
	open_client(&c, &client_id, SIZE_MAX); /* an old protocol */
	SSL_set_max_proto_version(c.ssl, TLS1_2_VERSION);
	expect_refusal(&c);
	close_client(&c);
}

static void test_tls_refuses_plain_text(void **state)
{
	static const char *const texts[] = {
		CALL("hold", "1", ""), "\x16\x03\x01\xff\xff\x01", "\x80\x2e\x01"};

	start("ca", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int fd = world_client_tcp();

		assert_true(send_text(fd, texts[i]));
		world_poll(20);
		world_jump(12 * XU_NS_PER_S); /* what waits for more bytes ends in time */
		assert_int_equal(xrpc_server_nr_connections(world.server), 0);
		assert_null(world.held);
		close(fd);
	}
}

static void test_tls_may_ask_for_a_token_in_place_of_a_certificate(void **state)
{
	struct client c;

	start(NULL, TOKEN);
	open_client(&c, NULL, SIZE_MAX);
	say(&c, AUTHENTICATE CALL("echo", "2", ""));
	expect_tls(&c, RESULT("1", "true") RESULT("2", "null"));
	close_client(&c);

	open_client(&c, NULL, SIZE_MAX);
	say(&c, CALL("hold", "2", ""));
	expect_tls(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-13,");
	world_jump(2 * XU_NS_PER_S);
	assert_int_equal(xrpc_server_nr_connections(world.server), 0);
	assert_null(world.held);
	close_client(&c);
}

static void test_tls_may_ask_for_both(void **state)
{
	struct client c;

	start("ca", TOKEN);
	open_client(&c, NULL, SIZE_MAX);
	expect_refusal(&c);
	close_client(&c);
	open_client(&c, &client_id, SIZE_MAX);
	say(&c, CALL("hold", "2", ""));
	expect_tls(&c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-13,");
	close_client(&c);
	open_client(&c, &client_id, SIZE_MAX);
	say(&c, AUTHENTICATE CALL("echo", "2", ""));
	expect_tls(&c, RESULT("1", "true") RESULT("2", "null"));
	assert_null(world.held);
	close_client(&c);
}

/* Only a CA lets the server out of this machine; encryption alone does not. */
static void test_tls_alone_does_not_open_the_server(void **state)
{
	struct xrpc_tcp_opts opts = {.address = "192.0.2.1"};
	struct xrpc_server *server = NULL;
	struct xu_error err = {0};

	assert_int_equal(make_tls("server", "server.key", NULL, &err), 0);
	opts.tls = tls;
	assert_int_equal(
		xrpc_server_new_tcp(world.reactor, world.service, &opts, &server, &err), -EPERM);
	xrpc_tls_free(tls);
	assert_int_equal(make_tls("server", "server.key", "ca", &err), 0);
	opts.tls = tls;
	assert_int_equal(xrpc_server_new_tcp(world.reactor, world.service, &opts, &server, &err),
		-EADDRNOTAVAIL);
	assert_null(server);
}

/* ---- the stream ---- */

static void test_tls_takes_any_pieces(void **state)
{
	static const size_t pieces[] = {1, 2, 7, 100};
	struct client c;

	start("ca", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		open_client(&c, &client_id, pieces[i]);
		say(&c, CALL("echo", "1", "") CALL("echo", "2", ""));
		expect_tls(&c, RESULT("1", "null") RESULT("2", "null"));
		close_client(&c);
	}
}

static void test_tls_carries_large_calls_and_answers(void **state)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"x\":\"";
	size_t big_len = strlen(RESULT("1", "\"\"")) + (8 << 20);
	char *text = malloc(XRPC_MAX_REQUEST + 1), *answer = calloc(1, big_len + 1);
	struct client c;

	start("ca", NULL);
	open_client(&c, &client_id, SIZE_MAX);
	memset(text, 'y', XRPC_MAX_REQUEST);
	memcpy(text, head, strlen(head));
	strcpy(text + XRPC_MAX_REQUEST - 2, "\"}");
	say(&c, text);
	expect_tls(&c, RESULT("1", "null"));
	say(&c, CALL("big", "1", "") CALL("echo", "2", ""));
	assert_int_equal(hear(&c, answer, big_len), big_len);
	assert_memory_equal(answer + big_len - 5, "bbb\"}", 5);
	expect_tls(&c, RESULT("2", "null"));
	close_client(&c);
	free(text);
	free(answer);
}

static void test_tls_ends_properly(void **state)
{
	struct client c;
	char byte;

	start("ca", NULL);
	/* The client ends the session; what it called is answered first. */
	open_client(&c, &client_id, SIZE_MAX);
	say(&c, CALL("echo", "1", ""));
	SSL_shutdown(c.ssl);
	carry(&c);
	expect_tls(&c, RESULT("1", "null"));
	assert_int_equal(hear(&c, &byte, 1), 0);
	assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	close_client(&c);
	world_poll(20);
	assert_int_equal(xrpc_server_nr_connections(world.server), 0);
	/* The server does. */
	open_client(&c, &client_id, SIZE_MAX);
	say(&c, "nonsense");
	expect_tls(&c, ERROR("-32700", "a call begins with { or ["));
	assert_int_equal(hear(&c, &byte, 1), 0);
	assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	close_client(&c);
	/* The stream is cut, or is no TLS any more. */
	open_client(&c, &client_id, SIZE_MAX);
	say(&c, CALL("echo", "1", ""));
	expect_tls(&c, RESULT("1", "null"));
	send_text(c.fd, CALL("hold", "1", ""));
	assert_int_equal(hear(&c, &byte, 1), 0);
	close_client(&c);
	world_jump(2 * XU_NS_PER_S);
	assert_int_equal(xrpc_server_nr_connections(world.server), 0);
	assert_null(world.held);
}

static void test_tls_new_keys_may_be_asked_for(void **state)
{
	struct client c;

	start("ca", NULL);
	open_client(&c, &client_id, SIZE_MAX);
	for (int i = 0; i < 50; i++) {
		say(&c, CALL("echo", "1", ""));
		assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		say(&c, CALL("echo", "2", ""));
		expect_tls(&c, RESULT("1", "null") RESULT("2", "null"));
	}
	close_client(&c);
}

static void test_tls_handshakes_end_in_time(void **state)
{
	struct client c, good;

	start("ca", NULL);
	open_client(&c, &client_id, SIZE_MAX);
	open_client(&good, &client_id, SIZE_MAX);
	SSL_do_handshake(c.ssl);
	carry(&c);
	say(&good, CALL("echo", "1", ""));
	world_jump(10 * XU_NS_PER_S);
	assert_int_equal(xrpc_server_nr_connections(world.server), 1);
	expect_tls(&good, RESULT("1", "null"));
	close_client(&c);
	close_client(&good);
}

/* ---- files ---- */

static void test_tls_says_what_is_wrong_with_its_files(void **state)
{
	static const struct {
		const char *cert, *key, *ca, *sentence;
	} table[] = {
		{"none", "server.key", NULL, "/none: No such file or directory"},
		{"server", "none", NULL, "/none: No such file or directory"},
		{"server", "server.key", "none", "/none: No such file or directory"},
		{"server", "ca.key", NULL, "/ca.key: key values mismatch"},
		{"text", "server.key", NULL, "the TLS certificate"},
		{"server", "text", NULL, "the TLS key"},
		{"server", "server.key", "text", "the CA of clients"},
		{"server", "locked.key", NULL, "the TLS key"},
		{NULL, "server.key", NULL, "TLS needs both"},
		{"server", NULL, NULL, "TLS needs both"},
	};
	FILE *f = fopen(file("text"), "w");

	fputs("hello\n", f);
	fclose(f);
	write_identity("locked", &server_id, "secret");
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct xu_error err = {0};

		assert_int_equal(make_tls(table[i].cert, table[i].key, table[i].ca, &err), -EINVAL);
		if (strstr(err.text, table[i].sentence) == NULL) {
			fail_msg("'%s' is not in '%s'", table[i].sentence, err.text);
		}
		assert_null(tls);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tls_takes_a_certificate_of_the_ca),
		TEST(test_tls_refuses_other_clients),
		TEST(test_tls_refuses_plain_text),
		TEST(test_tls_may_ask_for_a_token_in_place_of_a_certificate),
		TEST(test_tls_may_ask_for_both),
		TEST(test_tls_alone_does_not_open_the_server),
		TEST(test_tls_takes_any_pieces),
		TEST(test_tls_carries_large_calls_and_answers),
		TEST(test_tls_ends_properly),
		TEST(test_tls_new_keys_may_be_asked_for),
		TEST(test_tls_handshakes_end_in_time),
		TEST(test_tls_says_what_is_wrong_with_its_files),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
