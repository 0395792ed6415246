// The two ends of a server's reports of SIP calls:
//
//	bus send REDIS SHIFT  plays the part of LiveKit's SIP service on the server's bus. Its input is a capture of
//	                      analytics, whose calls and transfers it reports again, one after the other, with SHIFT
//	                      nanoseconds added to their times. It prints a line for each that the server has answered.
//	bus receive           prints its address, and then the analytics events that it receives as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "receive":
		return receive()
	case len(args) == 3 && args[0] == "send":
		shift, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return send(args[1], shift)
	}
	return errors.New("usage: bus send REDIS SHIFT | bus receive")
}

func send(address string, shift int64) error {
	client := redis.NewClient(&redis.Options{Addr: address})
	server, err := rpc.NewIOInfoClient(psrpc.NewRedisMessageBus(client))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		request, err := report(lines.Bytes())
		if err != nil {
			return err
		}
		move(request, shift)
		for _, err = server.UpdateSIPCallState(context.Background(), request); err != nil; {
			// No server has claimed it in time, so none has it.
			if !errors.Is(err, psrpc.ErrNoResponse) {
				return err
			}
			_, err = server.UpdateSIPCallState(context.Background(), request)
		}
		fmt.Println("answered")
	}
	return lines.Err()
}

func report(line []byte) (*rpc.UpdateSIPCallStateRequest, error) {
	var captured struct{ Body json.RawMessage }
	if err := json.Unmarshal(line, &captured); err != nil {
		return nil, err
	}
	events := &livekit.AnalyticsEvents{}
	if err := protojson.Unmarshal(captured.Body, events); err != nil {
		return nil, err
	}
	if len(events.Events) != 1 {
		return nil, errors.New("not one event in a line")
	}
	event := events.Events[0]
	return &rpc.UpdateSIPCallStateRequest{CallInfo: event.SipCall, TransferInfo: event.SipTransfer}, nil
}

func move(request *rpc.UpdateSIPCallStateRequest, by int64) {
	var times []*int64
	if call := request.CallInfo; call != nil {
		times = append(times, &call.CreatedAtNs, &call.StartedAtNs, &call.EndedAtNs)
	}
	if transfer := request.TransferInfo; transfer != nil {
		times = append(times, &transfer.TransferInitiatedAtNs, &transfer.TransferCompletedAtNs)
	}
	for _, at := range times {
		if *at != 0 {
			*at += by
		}
	}
}

type recorder struct {
	rpc.UnimplementedAnalyticsRecorderServiceServer
}

func (recorder) IngestEvents(stream grpc.ClientStreamingServer[livekit.AnalyticsEvents, emptypb.Empty]) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&emptypb.Empty{})
		}
		if err != nil {
			return err
		}
		for _, event := range message.Events {
			line, err := protojson.Marshal(event)
			if err != nil {
				return err
			}
			fmt.Println(string(line))
		}
	}
}

func receive() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := grpc.NewServer()
	rpc.RegisterAnalyticsRecorderServiceServer(server, recorder{})
	return server.Serve(listener)
}
