// Package schema makes JSON Schemas (2020-12) of Go types, as encoding/json reads and writes them.
package schema

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Type is a reflect.Type; nil stands for no message.
type Type = reflect.Type

// object is a schema. encoding/json writes its keys in order.
type object map[string]any

var (
	octets        = reflect.TypeFor[[]byte]()
	raw           = reflect.TypeFor[json.RawMessage]()
	number        = reflect.TypeFor[json.Number]()
	instant       = reflect.TypeFor[time.Time]()
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// Name is what a type is called in descriptions: empty for no message, `Octets` for one as it is, `List[Item]`
// becomes `ListItem`.
func Name(t Type) string {
	switch {
	case t == nil || t.Kind() == reflect.Struct && t.NumField() == 0 && t.Name() == "":
		return ""
	case isOctets(t):
		return "Octets"
	case t.Kind() == reflect.Pointer:
		return Name(t.Elem())
	case t.Name() != "":
		return words(t.Name())
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return "ListOf" + title(Name(t.Elem()))
	case t.Kind() == reflect.Map:
		return "MapOf" + title(Name(t.Elem()))
	}
	return "Value"
}

// words is a type's name without the brackets, packages and dots of its parameters.
func words(name string) string {
	var out strings.Builder
	for i, part := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("[],*", r) }) {
		part = part[strings.LastIndexAny(part, "./")+1:]
		if i > 0 {
			part = title(part)
		}
		out.WriteString(part)
	}
	return out.String()
}

func title(name string) string {
	if name == "" {
		return "Value"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// isOctets: a message that is not JSON at all.
func isOctets(t Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && t != raw
}

// Has says whether messages of that type are JSON that a schema can speak of.
func Has(t Type) bool { return Name(t) != "" && !isOctets(t) }

// maker makes one schema. Named structs are definitions, so that a type may contain itself.
type maker struct {
	root        Type
	definitions object
	names       map[Type]string
}

// Of is the schema of a type as JSON.
func Of(t Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	m := maker{root: t, definitions: object{}, names: map[Type]string{}}
	made := m.body(t)
	made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	made["title"] = Name(t)
	if len(m.definitions) > 0 {
		made["$defs"] = m.definitions
	}
	text, err := json.Marshal(made)
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %s", t, err))
	}
	return string(text)
}

// of is the schema of a type where it is used.
func (m *maker) of(t Type) object {
	if t.Kind() == reflect.Pointer {
		return object{"anyOf": []object{m.of(t.Elem()), {"type": "null"}}}
	}
	if t == m.root && t.Kind() == reflect.Struct {
		return object{"$ref": "#"}
	}
	if t.Kind() != reflect.Struct || t.Name() == "" || t == instant || writesItself(t) {
		return m.body(t)
	}
	name, known := m.names[t]
	if !known {
		name = m.free(words(t.Name()))
		m.names[t] = name
		m.definitions[name] = object{}
		m.definitions[name] = m.body(t)
	}
	return object{"$ref": "#/$defs/" + name}
}

// free is a name that no definition has: types of two packages may share theirs.
func (m *maker) free(name string) string {
	for candidate, n := name, 2; ; n++ {
		if _, taken := m.definitions[candidate]; !taken {
			return candidate
		}
		candidate = fmt.Sprint(name, n)
	}
}

func writesItself(t Type) bool {
	return t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler)
}

func (m *maker) body(t Type) object {
	switch {
	case t == instant:
		return object{"type": "string", "format": "date-time"}
	case t == number:
		return object{"type": "number"}
	case t == raw || writesItself(t):
		return object{}
	case t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(textMarshaler):
		return object{"type": "string"}
	case t == octets || isOctets(t):
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return object{"type": "integer", "minimum": 0}
	case reflect.Slice:
		// A nil slice is written as null.
		return object{"type": []string{"array", "null"}, "items": m.of(t.Elem())}
	case reflect.Array:
		return object{"type": "array", "items": m.of(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": m.of(t.Elem())}
	case reflect.Struct:
		return m.structure(t)
	case reflect.Pointer:
		return m.of(t)
	}
	return object{}
}

func (m *maker) structure(t Type) object {
	properties, required := object{}, []string{}
	m.fields(t, properties, &required)
	made := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		made["required"] = required
	}
	return made
}

// fields adds those of a struct and of the structs that are embedded in it. The tags are those of
// encoding/json; `doc:"..."` describes a field.
func (m *maker) fields(t Type, properties object, required *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if field.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			m.fields(inner, properties, required)
			continue
		}
		if !field.IsExported() || name == "-" && options == "" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		made := m.of(field.Type)
		has := func(option string) bool { return strings.Contains(","+options+",", ","+option+",") }
		if has("string") {
			made = object{"type": "string"}
		}
		if text := field.Tag.Get("doc"); text != "" {
			made["description"] = text
		}
		properties[name] = made
		if !has("omitempty") && !has("omitzero") && field.Type.Kind() != reflect.Pointer {
			*required = append(*required, name)
		}
	}
}
