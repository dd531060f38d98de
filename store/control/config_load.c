/* SPDX-License-Identifier: BSD-3-Clause
 * Loading: libyaml for shape and lines (config_tree.c), libcyaml with a schema made from the table
 * for the texts, config_value.c for their meaning. */
#include "store/control/config_priv.h"
#include <errno.h>
#include <cyaml/cyaml.h>

#define FIELDS_MAX   64 /* keys in one mapping, checked when the schema is made */
#define LIST_MAX     4096
#define DEFAULTS_MAX 32 /* entries of a list's default */

/* What libcyaml fills in for each key: a text, texts, or mappings of such slots. */
struct slot {
	union {
		char *text;
		char **texts;
		struct slot *slots;
	};
	uint32_t n;
};

static cyaml_schema_field_t schema_fields[CONFIG_STRUCT_N][FIELDS_MAX + 1];
static cyaml_schema_value_t schema_structs[CONFIG_STRUCT_N];
static const cyaml_schema_value_t schema_text = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};
static cyaml_schema_value_t schema_root;

static void schema_field(cyaml_schema_field_t *s, const struct config_field *f, unsigned i)
{
	bool list = f->kind == CONFIG_KIND_SEQ ||
		    (f->kind == CONFIG_KIND_KEY && f->type >= CONFIG_LISTS);

	*s = (cyaml_schema_field_t){.key = f->key,
		.data_offset = (uint32_t)(i * sizeof(struct slot) + offsetof(struct slot, text)),
		.count_offset = (uint32_t)(i * sizeof(struct slot) + offsetof(struct slot, n)),
		.count_size = sizeof(uint32_t)};
	if (f->kind == CONFIG_KIND_SUB) {
		s->value = schema_structs[f->sub];
	} else if (list) {
		s->value.type = CYAML_SEQUENCE;
		s->value.sequence.entry =
			f->kind == CONFIG_KIND_SEQ ? &schema_structs[f->sub] : &schema_text;
		s->value.sequence.max = LIST_MAX;
		s->value.data_size = f->kind == CONFIG_KIND_SEQ ? schema_structs[f->sub].data_size
								: (uint32_t)sizeof(char *);
	} else {
		s->value = schema_text;
	}
	s->value.flags = (enum cyaml_flag)(
		CYAML_FLAG_OPTIONAL |
		(s->value.type == CYAML_STRING ? CYAML_FLAG_POINTER : CYAML_FLAG_POINTER_NULL));
}

/* Structs come in config.def below those that hold them, so one pass is enough. */
static void schema_make(void)
{
	for (unsigned id = 0; id < CONFIG_STRUCT_N; id++) {
		const struct config_struct *cs = &config_structs[id];
		BUG_ON(cs->count > FIELDS_MAX);
		for (unsigned i = 0; i < cs->count; i++)
			schema_field(&schema_fields[id][i], &cs->fields[i], i);
		schema_structs[id] = (cyaml_schema_value_t){.type = CYAML_MAPPING,
			.data_size = (uint32_t)(cs->count * sizeof(struct slot)),
			.mapping = {.fields = schema_fields[id]}};
	}
	schema_root = schema_structs[CONFIG_STRUCT_root];
	schema_root.flags = CYAML_FLAG_POINTER_NULL;
}

static const cyaml_config_t cyaml_setup = {
	.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR, .flags = CYAML_CFG_NO_ALIAS};

struct loading {
	struct config *config;
	const struct config_tree *tree;
	const char *file;
	char *error;
	size_t error_n;
};

static int fail(struct loading *l, const char *path, const char *problem)
{
	unsigned line = config_tree_line(l->tree, path);

	if (line)
		snprintf(l->error, l->error_n, "%s:%u: key %s: %s", l->file, line, path, problem);
	else
		snprintf(l->error, l->error_n, "%s: key %s: %s", l->file, path, problem);
	return -EINVAL;
}

/* A list's default is written "a, b"; cut in place.  Returns the number of texts. */
static unsigned default_split(char *text, const char **texts, unsigned max)
{
	unsigned n = 0;

	for (char *save, *p = strtok_r(text, ", ", &save); p && n < max;
		p = strtok_r(NULL, ", ", &save))
		texts[n++] = p;
	return n;
}

static int fill_key(struct loading *l, const struct config_field *f, const struct slot *s,
	const char *path, void *out)
{
	struct config_memory *m = l->config->memory;
	char def[128];
	const char *texts[DEFAULTS_MAX] = {def};
	const char *wrong;

	snprintf(def, sizeof(def), "%s", f->def);
	if (f->type >= CONFIG_LISTS) {
		wrong = s && s->texts
				? config_value_parse(m, f, (const char *const *)s->texts, s->n, out)
				: config_value_parse(m, f, texts,
					  default_split(def, texts, ARRAY_LEN(texts)), out);
	} else {
		if (s && s->text && s->text[0])
			texts[0] = s->text;
		wrong = config_value_parse(m, f, texts, 1, out);
	}
	return wrong ? fail(l, path, wrong) : 0;
}

static int fill_struct(struct loading *l, enum config_struct_id id, const struct slot *slots,
	const char *path, void *out);

static int fill_list(struct loading *l, const struct config_field *f, const struct slot *s,
	const char *path, uint8_t *out)
{
	uint32_t n = s ? s->n : 0;
	const struct config_struct *cs = &config_structs[f->sub];
	uint8_t *v = config_alloc(l->config->memory, n * cs->size);
	char sub[CONFIG_PATH_MAX];

	if (!v)
		return fail(l, path, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		snprintf(sub, sizeof(sub), "%.80s[%u]", path, i);
		int err = fill_struct(l, f->sub, s->slots + i * cs->count, sub, v + i * cs->size);
		if (err < 0)
			return err;
	}
	memcpy(out + f->offset, &(void *){v}, sizeof(void *));
	memcpy(out + f->count_offset, &n, sizeof(n));
	return 0;
}

static int fill_struct(struct loading *l, enum config_struct_id id, const struct slot *slots,
	const char *path, void *out)
{
	const struct config_struct *cs = &config_structs[id];
	char sub[CONFIG_PATH_MAX];
	int err = 0;

	for (unsigned i = 0; i < cs->count && err == 0; i++) {
		const struct config_field *f = &cs->fields[i];
		const struct slot *s = slots ? &slots[i] : NULL;
		uint8_t *at = (uint8_t *)out + f->offset;
		snprintf(sub, sizeof(sub), "%.60s%s%s", path, *path ? "." : "", f->key);
		if (f->kind == CONFIG_KIND_KEY)
			err = fill_key(l, f, s, sub, at);
		else if (f->kind == CONFIG_KIND_SUB)
			err = fill_struct(l, f->sub, s ? s->slots : NULL, sub, at);
		else
			err = fill_list(l, f, s, sub, out);
	}
	return err;
}

static int read_file(const char *path, char **text_r, size_t *n_r, char *error, size_t error_n)
{
	FILE *file = fopen(path, "re");
	char *text = file ? malloc(CONFIG_FILE_MAX + 1) : NULL;
	int err = file ? 0 : -errno;

	if (!text) {
		snprintf(error, error_n, "%s: %s", path, strerror(err ? -err : ENOMEM));
	} else {
		*n_r = fread(text, 1, CONFIG_FILE_MAX + 1, file);
		err = ferror(file) ? -errno : *n_r > CONFIG_FILE_MAX ? -EFBIG : 0;
		if (err < 0)
			snprintf(error, error_n, "%s: %s", path, strerror(-err));
	}
	if (file)
		fclose(file);
	if (err < 0 || !text) {
		free(text);
		return err ? err : -ENOMEM;
	}
	*text_r = text;
	return 0;
}

static int config_fill(struct loading *l, const char *text, size_t n)
{
	char path[CONFIG_PATH_MAX], problem[192];
	struct slot *slots = NULL;

	cyaml_err_t cerr = cyaml_load_data((const uint8_t *)text, n, &cyaml_setup, &schema_root,
		(cyaml_data_t **)&slots, NULL);
	if (cerr != CYAML_OK) {
		snprintf(l->error, l->error_n, "%s: %s", l->file, cyaml_strerror(cerr));
		return -EINVAL;
	}
	int err = fill_struct(l, CONFIG_STRUCT_root, slots, "", &l->config->root);
	if (err == 0 && config_check(&l->config->root, path, problem, sizeof(problem)) < 0)
		err = fail(l, path, problem);
	cyaml_free(&cyaml_setup, &schema_root, slots, 0);
	return err;
}

int config_parse(const char *file, const char *text, size_t n, const struct config **config_r,
	char *error, size_t error_n)
{
	static uint64_t generation;
	struct config *config = calloc(1, sizeof(*config));
	struct config_tree tree = {0};

	if (config)
		config->memory = config_memory_create();
	if (!config || !config->memory) {
		free(config);
		snprintf(error, error_n, "%s: out of memory", file);
		return -ENOMEM;
	}
	schema_make();
	struct loading l = {
		.config = config, .tree = &tree, .file = file, .error = error, .error_n = error_n};
	int err = config_tree_read(&tree, file, text, n, error, error_n);
	if (err == 0)
		err = config_fill(&l, text, n);
	config_tree_free(&tree);
	*config_r = config;
	if (err < 0)
		config_destroy(config_r);
	else
		config->generation = ++generation;
	return err;
}

int config_load(const char *path, const struct config **config_r, char *error, size_t error_n)
{
	char *text = NULL;
	size_t n = 0;
	int err = read_file(path, &text, &n, error, error_n);

	*config_r = NULL;
	if (err == 0)
		err = config_parse(path, text, n, config_r, error, error_n);
	free(text);
	return err;
}

void config_destroy(const struct config **config)
{
	struct config *c = (struct config *)*config;

	if (c)
		config_memory_destroy(&c->memory);
	free(c);
	*config = NULL;
}
