/* SPDX-License-Identifier: BSD-3-Clause
 * The configuration as an immutable snapshot.  The structs are made from config.def; texts are
 * NUL-terminated and never NULL.  Main thread loads and frees; any thread may read while it lives.
 */
#pragma once
#include "dataplane/base/clock.h"
#include "dataplane/base/netaddr.h"

#define CONFIG_FILE_MAX (1 << 20) /* octets; chosen */

struct config_mac {
	uint8_t octets[6]; /* all 0: not given */
};
struct config_ip {
	struct ip_addr ip;
	bool given;
};
struct config_nets {
	const struct ip_net *v;
	uint32_t n;
};
struct config_strings {
	const char *const *v;
	uint32_t n;
};
struct config_numbers {
	const uint64_t *v;
	uint32_t n;
};

/* The C type of each type of key. */
#define CONFIG_C_HOST      const char *
#define CONFIG_C_HOSTPORT  const char *
#define CONFIG_C_PATTERN   const char *
#define CONFIG_C_NAME      const char *
#define CONFIG_C_DEVICE    const char *
#define CONFIG_C_CPUS      const char *
#define CONFIG_C_STRING    const char *
#define CONFIG_C_PATH      const char *
#define CONFIG_C_UINT      uint64_t
#define CONFIG_C_SIZE      uint64_t /* octets */
#define CONFIG_C_DURATION  uint64_t /* microseconds */
#define CONFIG_C_BOOL      bool
#define CONFIG_C_ENUM      uint32_t /* index among the names */
#define CONFIG_C_ROLES     uint32_t /* bit per name */
#define CONFIG_C_MAC       struct config_mac
#define CONFIG_C_IP        struct config_ip
#define CONFIG_C_NETS      struct config_nets
#define CONFIG_C_ADDRS     struct config_nets
#define CONFIG_C_HOSTS     struct config_strings
#define CONFIG_C_PATTERNS  struct config_strings
#define CONFIG_C_PATHS     struct config_strings
#define CONFIG_C_SERVERS   struct config_strings
#define CONFIG_C_DIGESTS   struct config_strings
#define CONFIG_C_DURATIONS struct config_numbers

#define CONFIG_STRUCT(s, help)                                      struct config_##s {
#define CONFIG_KEY(s, key, type, def, min, max, unit, reload, help) CONFIG_C_##type key;
#define CONFIG_SUB(s, key)                                          struct config_##key key;
#define CONFIG_SEQ(s, key, element, most)                                                          \
	struct config_##element *key;                                                              \
	uint32_t key##_n;
#define CONFIG_END(s)                                                                              \
	}                                                                                          \
	;
#include "store/control/config.def"
#undef CONFIG_STRUCT
#undef CONFIG_KEY
#undef CONFIG_SUB
#undef CONFIG_SEQ
#undef CONFIG_END

/* One loaded file; config_load gives each the next generation. */
struct config {
	struct config_root root;
	uint64_t generation;
	struct config_memory *memory;
};

/* Load and check a file.  Returns 0 and *config_r, or -EINVAL (the file's content), another -errno
 * (cannot be read), with one line in error[]: "file:line: key a.b: problem". */
int config_load(
	const char *path, const struct config **config_r, char *error, size_t error_n) WARN_UNUSED;
/* The same for a text in memory; file is what messages call it. */
int config_parse(const char *file, const char *text, size_t n, const struct config **config_r,
	char *error, size_t error_n) WARN_UNUSED;
void config_destroy(const struct config **config);

/* A commented sample that is itself a valid file, and docs/configuration.md. */
void config_print_sample(FILE *out);
void config_print_docs(FILE *out);

#define CONFIG_DOMAIN_MAX 263 /* octets: a dot, a name of 255, ":65535" */

/* A host or domain in the form that is compared: lower case, A-labels; ".domain" and "host:port" as
 * well.  What cannot be a domain comes out in lower case.  False: too long. */
bool config_domain_canonical(const char *text, char out[CONFIG_DOMAIN_MAX + 1]);
