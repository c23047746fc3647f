// Commands by go-redis: redis-client ADDRESS. Prints `case: ok`, or what was wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

// What is found must be what is expected.
func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%v in the place of %v", found, expected))
	}
}

func good[T any](value T, err error) T {
	if err != nil {
		panic(err.Error())
	}
	return value
}

func refused(text string, err error) {
	if err == nil || !strings.HasPrefix(err.Error(), text) {
		panic(fmt.Sprintf("%v in the place of %s", err, text))
	}
}

func stringsOf(r *redis.Client) {
	good(r.Set(ctx, "go", "1", 100*time.Second).Result())
	equal(good(r.Get(ctx, "go").Result()), "1")
	equal(good(r.TTL(ctx, "go").Result()), 100*time.Second)
	equal(good(r.Incr(ctx, "go").Result()), int64(2))
	equal(good(r.SetNX(ctx, "go", "x", 0).Result()), false)
	equal(good(r.GetDel(ctx, "go").Result()), "2")
	equal(errors.Is(r.Get(ctx, "go").Err(), redis.Nil), true)
	good(r.MSet(ctx, "go-1", "1", "go-2", "2").Result())
	equal(good(r.MGet(ctx, "go-1", "none", "go-2").Result()), []any{"1", nil, "2"})
	equal(good(r.Del(ctx, "go-1", "go-2").Result()), int64(2))
}

func pipelines(r *redis.Client) {
	answers := good(r.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for number := range 10_000 {
			pipe.Echo(ctx, number)
		}
		return nil
	}))
	for number, answer := range answers {
		equal(answer.(*redis.StringCmd).Val(), fmt.Sprint(number))
	}
}

func scanning(r *redis.Client) {
	for number := range 50 {
		good(r.Set(ctx, fmt.Sprintf("goscan-%d", number), "x", 0).Result())
	}
	count, keys := 0, r.Scan(ctx, 0, "goscan-*", 7).Iterator()
	for keys.Next(ctx) {
		count++
	}
	equal(count, 50)
}

func channels(r *redis.Client) {
	pubsub := r.PSubscribe(ctx, "go.n*")
	defer pubsub.Close()
	good(pubsub.Receive(ctx))
	equal(good(r.Publish(ctx, "go.news", "hello").Result()), int64(1))
	message := good(pubsub.ReceiveMessage(ctx))
	equal([]string{message.Pattern, message.Channel, message.Payload}, []string{"go.n*", "go.news", "hello"})
}

func streams(r *redis.Client) {
	good(r.XGroupCreate(ctx, "orders.go", "g", "$").Result())
	id := good(r.XAdd(ctx, &redis.XAddArgs{Stream: "orders.go", Values: []any{"a", "1"}}).Result())
	read := good(r.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: "g", Consumer: "c", Streams: []string{"orders.go", ">"}, Count: 10, Block: -1,
	}).Result())
	equal(read[0].Messages[0].ID, id)
	equal(read[0].Messages[0].Values, map[string]any{"a": "1"})
	equal(good(r.XPending(ctx, "orders.go", "g").Result()).Count, int64(1))
	equal(good(r.XAck(ctx, "orders.go", "g", id).Result()), int64(1))
}

func calls(r *redis.Client) {
	equal(good(r.Do(ctx, "CALL", "echo/echo", "{}").Result()), "{}")
	refused("NOT_FOUND", r.Do(ctx, "CALL", "nobody/x", "{}").Err())
	refused("ERR unknown command 'FOO'", r.Do(ctx, "FOO", "x").Err())
}

func run(name string, body func(*redis.Client), r *redis.Client) {
	defer func() {
		if fault := recover(); fault != nil {
			fmt.Printf("%s: %v\n", name, fault)
		}
	}()
	body(r)
	fmt.Printf("%s: ok\n", name)
}

func main() {
	cases := []struct {
		name string
		body func(*redis.Client)
	}{
		{"strings", stringsOf}, {"pipelines", pipelines}, {"scanning", scanning},
		{"channels", channels}, {"streams", streams}, {"calls", calls},
	}
	for _, version := range []int{2, 3} {
		for _, one := range cases {
			r := redis.NewClient(&redis.Options{Addr: os.Args[1], Protocol: version})
			if one.name == "streams" {
				r.XGroupDestroy(ctx, "orders.go", "g")
			}
			run(fmt.Sprintf("%s-%d", one.name, version), one.body, r)
			r.Close()
		}
	}
}
