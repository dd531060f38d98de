/* SPDX-License-Identifier: BSD-3-Clause
 * The table made from config.def and the steps of loading.  Main thread. */
#pragma once
#include "store/control/config.h"

enum config_kind { CONFIG_KIND_KEY, CONFIG_KIND_SUB, CONFIG_KIND_SEQ };

enum config_type {
	CONFIG_HOST,
	CONFIG_HOSTPORT,
	CONFIG_PATTERN,
	CONFIG_NAME,
	CONFIG_DEVICE,
	CONFIG_CPUS,
	CONFIG_STRING,
	CONFIG_PATH,
	CONFIG_UINT,
	CONFIG_SIZE,
	CONFIG_DURATION,
	CONFIG_BOOL,
	CONFIG_ENUM,
	CONFIG_MAC,
	CONFIG_IP,
	CONFIG_LISTS, /* the types from here on are lists in the file */
	CONFIG_ROLES = CONFIG_LISTS,
	CONFIG_NETS,
	CONFIG_ADDRS,
	CONFIG_HOSTS,
	CONFIG_PATTERNS,
	CONFIG_SERVERS,
	CONFIG_DIGESTS,
	CONFIG_PATHS,
	CONFIG_DURATIONS,
	CONFIG_TYPE_N
};

enum config_reload { CONFIG_RESTART, CONFIG_RELOAD };

enum config_struct_id {
#define CONFIG_STRUCT(s, help) CONFIG_STRUCT_##s,
#define CONFIG_KEY(s, key, type, def, min, max, unit, reload, help)
#define CONFIG_SUB(s, key)
#define CONFIG_SEQ(s, key, element, most)
#define CONFIG_END(s)
#include "store/control/config.def"
#undef CONFIG_STRUCT
#undef CONFIG_KEY
#undef CONFIG_SUB
#undef CONFIG_SEQ
#undef CONFIG_END
	CONFIG_STRUCT_N
};

struct config_field {
	const char *key;
	enum config_kind kind;
	enum config_type type;
	const char *def; /* as it would stand in the file; lists separated by ", " */
	uint64_t min, max;
	const char *unit;
	enum config_reload reload;
	const char *help;
	size_t offset; /* in the typed struct */
	size_t count_offset;
	enum config_struct_id sub; /* of SUB and SEQ */
	uint32_t most;             /* SEQ */
};

struct config_struct {
	const char *name, *help;
	size_t size; /* of the typed struct */
	const struct config_field *fields;
	unsigned count;
};

extern const struct config_struct config_structs[CONFIG_STRUCT_N];

/* ---- names: config_name.c ---- */

bool config_host_is_valid(const char *text);
bool config_hostport_is_valid(const char *text);
/* "example.org", ".example.org", "*" */
bool config_pattern_is_valid(const char *text);
/* Letters, digits, and what is in `also`. */
bool config_name_is_valid(const char *text, const char *also);

/* ---- texts of the file: config_tree.c ---- */

#define CONFIG_PATH_MAX 96 /* octets of a key's path, "cores.layout[15].roles" */

/* Where the keys stand in the file, for messages. */
struct config_tree {
	struct config_mark *marks;
	unsigned count;
};

/* Parse text as YAML and check its shape against the table: unknown and repeated keys, mappings,
 * lists and scalars in their places.  0, or -EINVAL with "line: problem" in error[]. */
int config_tree_read(struct config_tree *t, const char *file, const char *text, size_t n,
	char *error, size_t error_n) WARN_UNUSED;
void config_tree_free(struct config_tree *t);
/* Line of a key, or of the nearest one above it that is in the file; 0: none. */
unsigned config_tree_line(const struct config_tree *t, const char *path);

/* ---- values: config_value.c ---- */

struct config_memory;
/* Zeroed memory that lives as long as the config; NULL: none left. */
void *config_alloc(struct config_memory *m, size_t n);
struct config_memory *config_memory_create(void);
void config_memory_destroy(struct config_memory **m);

/* Parse one scalar, or a list of n, into out (the C type of f).  Returns NULL or what is wrong, a
 * text that is valid until the next call. */
const char *config_value_parse(struct config_memory *m, const struct config_field *f,
	const char *const *texts, unsigned n, void *out);

int config_size_parse(struct bytes text, uint64_t *out) WARN_UNUSED;
int config_duration_parse(struct bytes text, uint64_t *out) WARN_UNUSED;
/* Shortest exact text: "64M", "5m".  Returns text. */
const char *config_size_format(uint64_t v, char text[32]);
const char *config_duration_format(uint64_t v, char text[32]);

/* ---- what one key alone cannot tell: config_check.c ---- */

/* Returns 0, or -EINVAL with the key's path and the problem. */
int config_check(const struct config_root *c, char path[CONFIG_PATH_MAX], char *problem,
	size_t problem_n) WARN_UNUSED;
