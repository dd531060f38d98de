/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/ctl/ctl.h"

const char *ctl_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

uint64_t ctl_number(const json_t *object, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(object, key));

	return v < 0 ? 0 : (uint64_t)v;
}

double ctl_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

const char *format_safe(const char *text, char *out, size_t cap)
{
	size_t n = 0;

	/* UTF-8 beyond ASCII passes, but not C1 controls (0xc2 0x80..0x9f), which terminals obey.
	 */
	for (const uint8_t *p = (const uint8_t *)text; *p && n + 1 < cap; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
		out[n++] = *p < 0x20 || *p == 0x7f || c1 ? '?' : (char)*p;
		p += c1 ? 1 : 0;
	}
	out[n] = '\0';
	return out;
}

static const char *format_scaled(uint64_t n, uint64_t base, const char *suffixes, char out[16])
{
	double v = (double)n;
	int i = -1;

	while (v >= (double)base && suffixes[i + 1]) {
		v /= (double)base;
		i++;
	}
	if (i < 0)
		snprintf(out, 16, "%llu", (unsigned long long)n);
	else
		snprintf(out, 16, v < 10 ? "%.1f%c" : "%.0f%c", v, suffixes[i]);
	return out;
}

const char *format_bytes(uint64_t n, char out[16])
{
	return format_scaled(n, 1024, "kMGTPE", out);
}

const char *format_count(uint64_t n, char out[16])
{
	if (n >= 100000)
		return format_scaled(n, 1000, "kMGTPE", out);
	snprintf(out, 16, "%llu", (unsigned long long)n);
	return out;
}

const char *format_duration(uint64_t ms, char out[16])
{
	unsigned long long s = ms / 1000;

	if (s < 60)
		snprintf(out, 16, "%llus", s);
	else if (s < 3600)
		snprintf(out, 16, "%llum", s / 60);
	else if (s < 86400)
		snprintf(out, 16, s % 3600 < 60 ? "%lluh" : "%lluh%llum", s / 3600, s % 3600 / 60);
	else
		snprintf(out, 16, s % 86400 < 3600 ? "%llud" : "%llud%lluh",
			MIN(s / 86400, 99999ull), s % 86400 / 3600);
	return out;
}

const char *format_list(const json_t *array, char *out, size_t cap)
{
	const json_t *word;
	size_t i, n = 0;

	out[0] = '\0';
	json_array_foreach(array, i, word)
	{
		int w = snprintf(out + n, cap - n, "%s%s", i ? "," : "", json_string_value(word));
		n = MIN(n + (size_t)MAX(w, 0), cap - 1);
	}
	return out;
}
