/* tls/engine.c (fuzz): whatever a peer says, a handshake ends or goes on, without a fault in memory; what arrives was sent.
 *
 * The first byte chooses. 0: the rest is what a server hears, 1: a client. 2, 3: a server and a client speak with each other,
 * and the rest says how to hurt what passes between them. Random numbers are the same in every run, so that the recorded
 * side of a whole session (the seeds) is valid to its end. LRUN_FUZZ_SEEDS=FOLDER writes the seeds. */
#include "tls/engine.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char key_pem[] = "-----BEGIN EC PRIVATE KEY-----\n"
                              "MHcCAQEEIJJ/o0SR76xLBc0o47NXwO0NBb44mGHH+4a9sI9s0A7JoAoGCCqGSM49\n"
                              "AwEHoUQDQgAEZSriiwWJff30ykwWrvvaJaWKW688NufAqMjhf61QtxEXcagUvh/A\n"
                              "zc2C6xzzYyL+vF7REd6kUU77hYmUncQhkQ==\n"
                              "-----END EC PRIVATE KEY-----\n";
static const char cert_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBdTCCARugAwIBAgIUbD049d3coY2f5QuyG/382hkKJwQwCgYIKoZIzj0EAwIw\n"
                               "DzENMAsGA1UEAwwEZnV6ejAgFw0yNjExMjgxNTQ2MjFaGA8yMTI2MTEwNDE1NDYy\n"
                               "MVowDzENMAsGA1UEAwwEZnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGUq\n"
                               "4osFiX399MpMFq772iWliluvPDbnwKjI4X+tULcRF3GoFL4fwM3Ngusc82Mi/rxe\n"
                               "0RHepFFO+4WJlJ3EIZGjUzBRMB0GA1UdDgQWBBQKZBNDycKwmQvrWYEUkhhBxYH/\n"
                               "eDAfBgNVHSMEGDAWgBQKZBNDycKwmQvrWYEUkhhBxYH/eDAPBgNVHRMBAf8EBTAD\n"
                               "AQH/MAoGCCqGSM49BAMCA0gAMEUCIBuJlfJqDYSgqKfAGa55aIBg/RFaEMsn9Eyg\n"
                               "REnF4gX2AiEAge+sHn6jtYyN2drrc0DF29QPJyEtfV4GLWXUEUB9O/I=\n"
                               "-----END CERTIFICATE-----\n";

enum { STEPS = 400, OUT_LIMIT = 1 << 20 };

static void check(int good) {
  if (!good) abort();
}

/* Random numbers ------------------------------------------------------------------------------------------------- */

static uint64_t
    chance; /* of the side at work: each has its own, so that one alone says what it said to the other */

static int random_bytes(unsigned char *to, int count) {
  for (int i = 0; i < count; i++) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    to[i] = (unsigned char)(chance >> 56);
  }
  return 1;
}
static int random_status(void) { return 1; }

static void fix_random(void) {
  typedef struct {
    int (*seed)(const void *, int);
    int (*bytes)(unsigned char *, int);
    void (*cleanup)(void);
    int (*add)(const void *, int, double);
    int (*pseudo)(unsigned char *, int);
    int (*status)(void);
  } method_t; /* RAND_METHOD */
  static const method_t method = {.bytes = random_bytes, .pseudo = random_bytes, .status = random_status};
  void *library = dlopen("libcrypto.so.3", RTLD_LAZY);
  int (*set)(const void *) = NULL;
  void *address = dlsym(library, "RAND_set_rand_method");
  memcpy(&set, &address, sizeof address);
  check(set != NULL && set(&method) == 1);
}

/* Both sides ------------------------------------------------------------------------------------------------------- */

typedef struct {
  tls_engine_t engine;
  buffer_t out, got;
  size_t sent; /* of what the peer is to get */
  uint64_t chance;
  bool server, failed, ended;
} side_t;

static SSL_CTX *contexts[2]; /* TLS 1.2, 1.3 */
static tls_policy_t *policies[2];

static SSL_CTX *make_context(int version) {
  SSL_CTX *ssl = tls_lib.SSL_CTX_new(tls_lib.TLS_method());
  check(ssl != NULL);
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, version, NULL);
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, version, NULL);
  BIO *bio = crypto_lib.BIO_new_mem_buf(cert_pem, -1);
  X509 *cert = crypto_lib.PEM_read_bio_X509(bio, NULL, NULL, NULL);
  crypto_lib.BIO_free(bio);
  bio = crypto_lib.BIO_new_mem_buf(key_pem, -1);
  EVP_PKEY *key = crypto_lib.PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
  crypto_lib.BIO_free(bio);
  check(cert != NULL && key != NULL && tls_lib.SSL_CTX_use_cert_and_key(ssl, cert, key, NULL, 1) == 1);
  crypto_lib.X509_free(cert);
  crypto_lib.EVP_PKEY_free(key);
  tls_lib.SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"fuzz", 4);
  tls_engine_prepare(ssl);
  return ssl;
}

static tls_policy_t *make_policy(bool server) {
  static unsigned char alpn[] = "\4fuzz\10http/1.1";
  tls_policy_t *policy = calloc(1, sizeof *policy);
  policy->refs = 1;
  policy->request_cert = server;
  policy->want_sessions = policy->want_keys = true;
  policy->ask_name = policy->ask_alpn = policy->ask_session = policy->ask_ocsp = server;
  policy->tickets = server ? tls_tickets_new() : NULL;
  policy->alpn_len = sizeof alpn - 1;
  policy->alpn = malloc(policy->alpn_len);
  memcpy(policy->alpn, alpn, policy->alpn_len);
  return policy;
}

static void open_side(side_t *side, bool server, int version) {
  *side = (side_t){.server = server, .chance = server ? 1 : 2};
  chance = side->chance;
  check(tls_engine_open(&side->engine, contexts[version], policies[server], server) == 0);
  side->engine.out = &side->out;
  side->chance = chance;
  if (server) return;
  tls_lib.SSL_ctrl(side->engine.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                   (void *)"fuzz.test");
  tls_lib.SSL_ctrl(side->engine.ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, TLSEXT_STATUSTYPE_ocsp, NULL);
}

static void close_side(side_t *side) {
  tls_engine_close(&side->engine);
  buffer_free(&side->out);
  buffer_free(&side->got);
}

static const char text[] = "what one side says to the other, and what must arrive as it was sent; ";

static void speak(side_t *side) {
  for (int i = 0; i < 3; i++) {
    if (tls_engine_write(&side->engine, text, sizeof text - 1) != TLS_DONE) return;
    side->sent += sizeof text - 1;
  }
  if (!side->server) tls_engine_farewell(&side->engine);
}

static void after(side_t *side, tls_step_t step) {
  if (step == TLS_FAILED) {
    tls_fault_t fault;
    tls_engine_fault(&side->engine, &fault);
    side->failed = true;
  } else if (step == TLS_ENDED) {
    side->ended = true;
  }
}

/* As tls/conn.c does it. */
static void hear(side_t *side, const char *data, size_t len) {
  tls_engine_t *e = &side->engine;
  if (side->failed || side->ended) return;
  chance = side->chance;
  check(tls_engine_feed(e, data, len) == 0);
  if (!e->established) {
    tls_step_t step = tls_engine_handshake(e);
    if (step == TLS_ASK) {
      check(e->hello != NULL && e->hello->name_len <= 255);
      tls_engine_answer(e, NULL);
      step = tls_engine_handshake(e);
    }
    after(side, step);
    if (step == TLS_DONE) speak(side);
  }
  tls_step_t step = e->established ? TLS_DONE : TLS_WANT;
  while (step == TLS_DONE) {
    char plain[SSL3_RT_MAX_PLAIN_LENGTH];
    size_t n = tls_engine_read(e, plain, sizeof plain, &step);
    check(buffer_add(&side->got, plain, n) == 0);
  }
  if (e->established) after(side, step);
  check(tls_engine_rest(e) == 0);
  side->chance = chance;
  check(side->out.len < OUT_LIMIT);
}

/* What arrived is a beginning of what was sent. */
static void compare(const side_t *from, const side_t *to) {
  check(to->got.len <= from->sent);
  for (size_t i = 0; i < to->got.len; i++) check(to->got.data[i] == text[i % (sizeof text - 1)]);
}

/* Runs ----------------------------------------------------------------------------------------------------------- */

/* How many plain bytes arrived. */
static size_t one_sided(bool server, int version, const uint8_t *data, size_t size) {
  side_t side;
  open_side(&side, server, version);
  hear(&side, "", 0);
  while (size > 0) { /* in pieces of different lengths */
    size_t n = 1 + (size_t)data[0] * 8;
    if (n > size) n = size;
    hear(&side, (const char *)data, n);
    data += n;
    size -= n;
  }
  size_t got = side.got.len;
  close_side(&side);
  return got;
}

/* Hurts a flight as the input says; true when it was left as it is. */
static bool hurt(buffer_t *flight, const uint8_t **data, size_t *size) {
  if (*size < 4 || flight->len == 0) return true;
  const uint8_t *op = *data;
  size_t at = ((size_t)op[1] << 8 | op[2]) % flight->len;
  *data += 4;
  *size -= 4;
  switch (op[0] % 8) {
  case 0: flight->data[at] ^= (char)(op[3] | 1); return false;
  case 1: flight->len = at; return false;
  case 2: {
    size_t n = op[3] < *size ? op[3] : *size;
    check(buffer_add(flight, (const char *)*data, n) == 0);
    *data += n;
    *size -= n;
    return n == 0;
  }
  case 3:
    check(buffer_room(flight, flight->len) != NULL);
    check(buffer_add(flight, flight->data, flight->len) == 0);
    return false;
  default: return true;
  }
}

static void two_sided(int version, const uint8_t *data, size_t size, buffer_t recorded[2]) {
  side_t sides[2];
  open_side(&sides[0], true, version);
  open_side(&sides[1], false, version);
  hear(&sides[1], "", 0);
  bool whole = true;
  for (int i = 0; i < STEPS; i++) {
    side_t *from = &sides[i % 2 == 0], *to = &sides[i % 2];
    if (from->out.len == 0 && to->out.len == 0) break;
    buffer_t flight = from->out;
    from->out = (buffer_t){0};
    if (recorded != NULL) buffer_add(&recorded[from->server], flight.data, flight.len);
    whole = hurt(&flight, &data, &size) && whole;
    hear(to, flight.data != NULL ? flight.data : "", flight.len);
    buffer_free(&flight);
  }
  compare(&sides[0], &sides[1]);
  compare(&sides[1], &sides[0]);
  if (whole) check(!sides[0].failed && !sides[1].failed && sides[0].got.len == 3 * (sizeof text - 1));
  close_side(&sides[0]);
  close_side(&sides[1]);
}

static void write_seed(const char *folder, const char *name, char mode, const buffer_t *bytes) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  if (file == NULL) return;
  fputc(mode, file);
  if (bytes->len > 0) fwrite(bytes->data, 1, bytes->len, file);
  fclose(file);
}

static void write_seeds(const char *folder) {
  static const char *const names[2][2] = {{"client12", "client13"}, {"server12", "server13"}};
  for (int version = 0; version < 2; version++) {
    buffer_t recorded[2] = {{0}, {0}};
    two_sided(version, NULL, 0, recorded);
    for (int server = 0; server < 2; server++) { /* each is a whole session */
      const buffer_t *heard = &recorded[!server];
      check(one_sided(server == 1, version, (const uint8_t *)heard->data, heard->len) ==
            3 * (sizeof text - 1));
    }
    write_seed(folder, names[1][version], (char)(0 | version << 2), &recorded[0]); /* said by the client */
    write_seed(folder, names[0][version], (char)(1 | version << 2), &recorded[1]);
    buffer_free(&recorded[0]);
    buffer_free(&recorded[1]);
  }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  check(tls_library_open() == NULL);
  fix_random();
  contexts[0] = make_context(TLS1_2_VERSION);
  contexts[1] = make_context(TLS1_3_VERSION);
  for (int i = 0; i < 2; i++) tls_engine_keylog(contexts[i]);
  policies[0] = make_policy(false);
  policies[1] = make_policy(true);
  const char *folder = getenv("LRUN_FUZZ_SEEDS");
  if (folder != NULL) write_seeds(folder);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  int version = data[0] >> 2 & 1;
  if ((data[0] & 3) < 2) one_sided((data[0] & 1) == 0, version, data + 1, size - 1);
  else two_sided(version, data + 1, size - 1, NULL);
  return 0;
}
