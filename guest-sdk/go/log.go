package postern

import (
	"context"
	"log/slog"

	"postern.dev/postern/internal/host"
)

// LevelTrace is below slog.LevelDebug.
const LevelTrace = slog.LevelDebug - 4

// LogHandler writes to the gateway's log, with the plugin's and the call's names already on each line. It is
// slog's default in a plugin, so that slog.Info and its like need nothing. A line that would not be kept is
// not formatted; lines over the plugin's rate are dropped and counted.
type LogHandler struct {
	fields []host.Pair
	// prefix is that of the groups that are open: `a.b.`.
	prefix string
}

var _ slog.Handler = LogHandler{}

func init() { slog.SetDefault(slog.New(LogHandler{})) }

// Enabled says whether a line of this level would be kept.
func (LogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return host.LogEnabled(levelOf(level))
}

// Handle writes a line.
func (h LogHandler) Handle(_ context.Context, record slog.Record) error {
	fields := append([]host.Pair{}, h.fields...)
	record.Attrs(func(attr slog.Attr) bool {
		fields = flatten(fields, h.prefix, attr)
		return true
	})
	host.LogWrite(levelOf(record.Level), record.Message, fields)
	return nil
}

// WithAttrs adds fields to every line.
func (h LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	fields := append([]host.Pair{}, h.fields...)
	for _, attr := range attrs {
		fields = flatten(fields, h.prefix, attr)
	}
	return LogHandler{fields: fields, prefix: h.prefix}
}

// WithGroup puts the names of further fields below a name: `group.field`.
func (h LogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return LogHandler{fields: h.fields, prefix: h.prefix + name + "."}
}

func flatten(fields []host.Pair, prefix string, attr slog.Attr) []host.Pair {
	value := attr.Value.Resolve()
	if value.Kind() != slog.KindGroup {
		if attr.Key == "" {
			return fields
		}
		return append(fields, host.Pair{Name: prefix + attr.Key, Value: value.String()})
	}
	if attr.Key != "" {
		prefix += attr.Key + "."
	}
	for _, inner := range value.Group() {
		fields = flatten(fields, prefix, inner)
	}
	return fields
}

func levelOf(level slog.Level) host.Level {
	switch {
	case level >= slog.LevelError:
		return host.Error
	case level >= slog.LevelWarn:
		return host.Warn
	case level >= slog.LevelInfo:
		return host.Info
	case level >= slog.LevelDebug:
		return host.Debug
	}
	return host.Trace
}
