/* SPDX-License-Identifier: BSD-3-Clause
 * libcyaml tells neither the line of an unknown key (it gives that of the event before) nor that of
 * a value whose text is wrong, so libyaml, on which it stands, is asked for both. */
#include "store/control/config_priv.h"
#include <errno.h>
#include <yaml.h>
#include "dataplane/base/log.h"

#define MARKS_STEP 256
#define MARKS_MAX  16384 /* keys and list entries of one file; chosen */

struct config_mark {
	char path[CONFIG_PATH_MAX];
	unsigned line;
};

struct walk {
	struct config_tree *tree;
	yaml_document_t *doc;
	const char *file;
	char *error;
	size_t error_n;
};

static unsigned node_line(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

static int fail(struct walk *w, const yaml_node_t *at, const char *path, const char *problem)
{
	snprintf(w->error, w->error_n, "%s:%u: key %s: %s", w->file, node_line(at), path, problem);
	return -EINVAL;
}

static int mark(struct walk *w, const yaml_node_t *at, const char *path)
{
	struct config_tree *t = w->tree;

	if (t->count == MARKS_MAX)
		return fail(w, at, path, "too many entries in this file");
	if (t->count % MARKS_STEP == 0) {
		struct config_mark *more =
			realloc(t->marks, (t->count + MARKS_STEP) * sizeof(*t->marks));
		if (!more)
			return fail(w, at, path, "out of memory");
		t->marks = more;
	}
	struct config_mark *m = &t->marks[t->count++];
	snprintf(m->path, sizeof(m->path), "%s", path);
	m->line = node_line(at);
	return 0;
}

/* "a: " and "a: ~" give no value: the defaults hold. */
static bool node_is_null(const yaml_node_t *node)
{
	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	return node->data.scalar.length == 0;
}

static int walk_mapping(
	struct walk *w, const yaml_node_t *node, enum config_struct_id id, const char *path);

static int walk_list(
	struct walk *w, const yaml_node_t *node, const struct config_field *f, const char *path)
{
	char sub[CONFIG_PATH_MAX];
	unsigned i = 0;

	if (node->type != YAML_SEQUENCE_NODE)
		return fail(w, node, path, "must be a list");
	for (yaml_node_item_t *it = node->data.sequence.items.start;
		it < node->data.sequence.items.top; it++, i++) {
		const yaml_node_t *entry = yaml_document_get_node(w->doc, *it);
		snprintf(sub, sizeof(sub), "%.80s[%u]", path, i);
		int err = mark(w, entry, sub);
		if (err == 0 && i >= (f->kind == CONFIG_KIND_SEQ ? f->most : f->max))
			err = fail(w, entry, path, "too many entries");
		if (err == 0 && f->kind == CONFIG_KIND_SEQ)
			err = walk_mapping(w, entry, f->sub, sub);
		else if (err == 0 && entry->type != YAML_SCALAR_NODE)
			err = fail(w, entry, sub, "must be a single value");
		if (err < 0)
			return err;
	}
	return 0;
}

static int walk_field(struct walk *w, const yaml_node_t *key, const yaml_node_t *value,
	const struct config_field *f, const char *path)
{
	for (unsigned i = 0; i < w->tree->count; i++) {
		if (strcmp(w->tree->marks[i].path, path) == 0)
			return fail(w, key, path, "given twice");
	}
	int err = mark(w, key, path);
	if (err < 0 || node_is_null(value))
		return err;
	if (f->kind == CONFIG_KIND_SUB)
		return walk_mapping(w, value, f->sub, path);
	if (f->kind == CONFIG_KIND_SEQ || f->type >= CONFIG_LISTS)
		return walk_list(w, value, f, path);
	if (value->type != YAML_SCALAR_NODE)
		return fail(w, value, path, "must be a single value");
	return 0;
}

static const struct config_field *field_find(enum config_struct_id id, const yaml_node_t *key)
{
	const struct config_struct *s = &config_structs[id];

	if (key->type != YAML_SCALAR_NODE)
		return NULL;
	struct bytes name = bytes_make(key->data.scalar.value, key->data.scalar.length);
	for (unsigned i = 0; i < s->count; i++) {
		if (bytes_eq(name, bytes_str(s->fields[i].key)))
			return &s->fields[i];
	}
	return NULL;
}

static int walk_mapping(
	struct walk *w, const yaml_node_t *node, enum config_struct_id id, const char *path)
{
	char sub[CONFIG_PATH_MAX];

	if (node->type != YAML_MAPPING_NODE)
		return fail(
			w, node, *path ? path : "(file)", "must be a mapping of keys to values");
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
		p++) {
		const yaml_node_t *key = yaml_document_get_node(w->doc, p->key);
		const yaml_node_t *value = yaml_document_get_node(w->doc, p->value);
		const struct config_field *f = field_find(id, key);
		char name[48] = "?";
		if (key->type == YAML_SCALAR_NODE)
			log_escape(bytes_make(key->data.scalar.value, key->data.scalar.length),
				name, sizeof(name));
		snprintf(sub, sizeof(sub), "%.45s%s%s", path, *path ? "." : "", name);
		int err = f ? walk_field(w, key, value, f, sub) : fail(w, key, sub, "unknown key");
		if (err < 0)
			return err;
	}
	return 0;
}

static int parse_failed(const yaml_parser_t *p, struct walk *w)
{
	snprintf(w->error, w->error_n, "%s:%u: not valid YAML: %s", w->file,
		(unsigned)p->problem_mark.line + 1, p->problem ? p->problem : "out of memory");
	return -EINVAL;
}

int config_tree_read(struct config_tree *t, const char *file, const char *text, size_t n,
	char *error, size_t error_n)
{
	yaml_parser_t parser;
	yaml_document_t doc;
	struct walk w = {.tree = t, .doc = &doc, .file = file, .error = error, .error_n = error_n};
	int err = 0;

	*t = (struct config_tree){0};
	if (!yaml_parser_initialize(&parser)) {
		snprintf(error, error_n, "%s: out of memory", file);
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	if (!yaml_parser_load(&parser, &doc)) {
		err = parse_failed(&parser, &w);
	} else {
		const yaml_node_t *root = yaml_document_get_root_node(&doc);
		if (root && !node_is_null(root))
			err = walk_mapping(&w, root, CONFIG_STRUCT_root, "");
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
	if (err < 0)
		config_tree_free(t);
	return err;
}

void config_tree_free(struct config_tree *t)
{
	free(t->marks);
	*t = (struct config_tree){0};
}

unsigned config_tree_line(const struct config_tree *t, const char *path)
{
	size_t best_n = 0;
	unsigned line = 0;

	for (unsigned i = 0; i < t->count; i++) {
		size_t n = strlen(t->marks[i].path);
		char after = strncmp(path, t->marks[i].path, n) == 0 ? path[n] : 'x';
		if ((after == '\0' || after == '.' || after == '[') && n > best_n) {
			best_n = n;
			line = t->marks[i].line;
		}
	}
	return line;
}
